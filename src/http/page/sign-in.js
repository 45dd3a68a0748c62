/** The dialog that asks for credentials where the service wants some. */

import { askWith, session, signedIn, signIn, signOut } from "./api.js";
import { byId } from "./dom.js";
import { t } from "./i18n.js";

const dialog = byId("sign-in");
const form = dialog.querySelector("form");
let challenge = null;
let open = null;
// Whoever closed the dialog is not asked again by every call.
let declined = false;

function ask(wanted) {
  challenge = wanted ?? challenge;
  byId("open-sign-in").hidden = false;
  if (declined) return Promise.resolve(false);
  open ??= new Promise((resolve) => {
    byId("basic").hidden = !challenge?.startsWith("Basic");
    byId("sign-in-error").textContent = "";
    dialog.showModal();
    form.querySelector("div:not([hidden]) input, form > label input").focus();
    dialog.addEventListener(
      "close",
      () => {
        open = null;
        declined = !signedIn();
        form.reset();
        resolve(signedIn());
      },
      { once: true },
    );
  });
  return open;
}

async function submit(event) {
  event.preventDefault();
  const button = byId("sign-in-button");
  button.disabled = true;
  try {
    await signIn(Object.fromEntries(new FormData(form)));
    dialog.close();
  } catch (error) {
    byId("sign-in-error").textContent = error.status === 401 ? t("These credentials are not accepted.") : error.message;
    form.querySelector("div:not([hidden]) input, form > label input").select();
  }
  button.disabled = false;
}

function showButtons() {
  byId("sign-out").hidden = !signedIn();
  if (signedIn()) byId("open-sign-in").hidden = true;
}

export function start() {
  askWith((wanted) => {
    // What was stored is no longer accepted.
    if (signedIn()) signOut();
    return ask(wanted);
  });
  form.addEventListener("submit", submit);
  byId("cancel-sign-in").addEventListener("click", () => dialog.close());
  byId("open-sign-in").addEventListener("click", () => {
    declined = false;
    ask();
  });
  byId("sign-out").addEventListener("click", () => {
    signOut();
    location.reload();
  });
  session.addEventListener("signed-in", showButtons);
  session.addEventListener("signed-out", showButtons);
  showButtons();
}
