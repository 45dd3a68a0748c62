/** The HTTP API, with the credentials of whoever is signed in. */

import { t } from "./i18n.js";

// Headers that hold the credentials. They outlive a reload, but not the tab.
const STORED = "relance-credentials";
let credentials = JSON.parse(sessionStorage.getItem(STORED) ?? "{}");

/** Tells of "signed-in" and "signed-out". */
export const session = new EventTarget();

/** Asks for credentials; resolves to whether there are some now. Set by the sign-in dialog. */
let ask = async () => false;

/** @param {(challenge: string | null) => Promise<boolean>} dialog */
export function askWith(dialog) {
  ask = dialog;
}

/** An answer that is no success, or none at all (status 0). */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {{title?: string, detail?: string}} problem
   * @param {number} [retryAfter] seconds
   */
  constructor(status, problem, retryAfter) {
    super(problem.detail ?? problem.title ?? String(status));
    this.status = status;
    this.title = problem.title;
    this.retryAfter = retryAfter;
  }
}

export const signedIn = () => Object.keys(credentials).length > 0;

export function signOut() {
  credentials = {};
  sessionStorage.removeItem(STORED);
  session.dispatchEvent(new Event("signed-out"));
}

const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

/** Signs in with a user and password or a key; throws a refusal if they are wrong. */
export async function signIn({ user, password, key }) {
  const headers = key ? { "X-API-Key": key } : { Authorization: `Basic ${base64(`${user}:${password}`)}` };
  await refuseBad(await send("models", {}, headers));
  credentials = headers;
  sessionStorage.setItem(STORED, JSON.stringify(headers));
  session.dispatchEvent(new Event("signed-in"));
}

async function send(path, options, headers) {
  try {
    // With the browser's own credentials left out, it does not answer a 401 with its own dialog.
    return await fetch(path, { ...options, headers: { ...options.headers, ...headers }, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const detail = t("The service does not answer, or the file cannot be read.");
    throw new Refusal(0, { title: t("No answer"), detail });
  }
}

async function refuseBad(response) {
  if (response.ok) return response;
  // A proxy in front may refuse in words of its own.
  const problem = await response.json().catch(() => ({}));
  const words = problem.title ? problem : { title: `${response.status} ${response.statusText}`.trim() };
  throw new Refusal(response.status, words, seconds(response.headers.get("Retry-After")));
}

/** Retry-After in seconds, which is given as such or as a date. */
export function seconds(header) {
  if (!header) return undefined;
  const wait = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(wait) ? Math.max(wait, 0) : undefined;
}

/**
 * Calls the API; a 401 opens the sign-in dialog, and the call is made again after it.
 * @throws {Refusal}
 */
export async function call(path, options = {}) {
  for (;;) {
    const used = credentials;
    const response = await send(path, options, used);
    if (response.status !== 401) return refuseBad(response);
    // Else somebody signed in while this call was under way.
    if (used !== credentials) continue;
    if (await ask(response.headers.get("WWW-Authenticate"))) continue;
    throw new Refusal(401, { title: t("Not signed in"), detail: t("Sign in to see this.") });
  }
}

export const getJson = async (path, options) => (await call(path, options)).json();
