/**
 * Where the live view gets its numbers: it asks `/metrics` and `/health/ready` again and again. Whatever
 * takes its place must call back with the same.
 */

import { call } from "./api.js";
import { read } from "./history.js";

/** Milliseconds from one question to the next. */
export const INTERVAL = 2000;
const LONGEST = 30_000;

async function readiness(signal) {
  // 503 is an answer here; it says why.
  const response = await fetch("health/ready", { signal, credentials: "omit" }).catch(() => null);
  return response ? response.json().catch(() => null) : null;
}

async function ask(signal) {
  const [response, health] = await Promise.all([call("metrics", { signal }), readiness(signal)]);
  const instance = response.headers.get("X-Served-By") ?? "";
  return { instance, sample: read(await response.text(), Date.now() / 1000), health };
}

/**
 * Watches until the signal; pauses while the page is not looked at.
 * @param {{ onSample: (answer: { instance: string, sample: object, health: object | null }) => void,
 *           onError: (error: Error, wait: number) => void }} listener `wait` in milliseconds
 * @param {AbortSignal} signal
 */
export function watch({ onSample, onError }, signal) {
  let timer;
  let failures = 0;
  let asking = false;

  const next = async () => {
    if (asking || document.hidden || signal.aborted) return;
    asking = true;
    const began = performance.now();
    let wait = INTERVAL;
    try {
      const answer = await ask(signal);
      failures = 0;
      if (!signal.aborted) onSample(answer);
    } catch (error) {
      failures += 1;
      wait = Math.min(Math.max(INTERVAL * 2 ** (failures - 1), (error.retryAfter ?? 0) * 1000), LONGEST);
      if (!signal.aborted) onError(error, wait);
    }
    asking = false;
    if (!signal.aborted) timer = setTimeout(next, Math.max(0, wait - (performance.now() - began)));
  };
  const again = () => {
    clearTimeout(timer);
    next();
  };
  document.addEventListener("visibilitychange", again, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  next();
}
