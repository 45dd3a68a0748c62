/**
 * Where the live view gets its numbers: the server-sent events of `/live`. They are read with fetch,
 * because an EventSource cannot send the credentials.
 */

import { call } from "./api.js";
import { t } from "./i18n.js";

/** Milliseconds without a snapshot after which the stream is taken to be broken; one comes each second. */
const SILENCE = 8000;
/** Milliseconds until the first new attempt, and at most. */
const FIRST = 1000;
const LONGEST = 30_000;

const dataOf = (event) =>
  event
    .split("\n")
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5))
    .join("\n");

/** Reads the stream until it ends; `onEvents` gets the data of the events that came together. */
export async function read(body, onEvents) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    // Comments have no data.
    const told = events.map(dataOf).filter(Boolean);
    if (told.length > 0) onEvents(told);
  }
}

/** Listens until the stream ends or breaks, and throws why; returns if the signal ended it. */
async function listen(onSnapshots, signal) {
  const silence = new AbortController();
  const response = await call("live", { signal: AbortSignal.any([signal, silence.signal]) });
  let timer;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE);
  };
  heard();
  try {
    await read(response.body, (events) => {
      heard();
      onSnapshots(events.map((data) => JSON.parse(data)));
    });
  } catch {
    if (signal.aborted) return;
    throw new Error(silence.signal.aborted ? t("Nothing has come for a while.") : t("The connection broke."));
  } finally {
    clearTimeout(timer);
  }
  if (!signal.aborted) throw new Error(t("The service has ended the connection."));
}

/**
 * Watches until the signal; lets go while the page is not looked at.
 * @param {{ onSnapshots: (snapshots: object[]) => void, onError: (error: Error, wait: number) => void }} listener
 *   `wait` in milliseconds
 * @param {AbortSignal} signal
 */
export function watch({ onSnapshots, onError }, signal) {
  let stream = new AbortController();
  let timer;
  let failures = 0;

  const connect = async () => {
    clearTimeout(timer);
    stream.abort();
    if (document.hidden || signal.aborted) return;
    const mine = (stream = new AbortController());
    try {
      await listen((snapshots) => {
        failures = 0;
        if (!mine.signal.aborted) onSnapshots(snapshots);
      }, mine.signal);
    } catch (error) {
      if (mine.signal.aborted) return;
      failures += 1;
      const backoff = Math.min(FIRST * 2 ** (failures - 1), LONGEST);
      // Not all pages at the same moment.
      const wait = Math.max(backoff * (0.75 + Math.random() / 2), (error.retryAfter ?? 0) * 1000);
      onError(error, wait);
      timer = setTimeout(connect, wait);
    }
  };
  document.addEventListener("visibilitychange", connect, { signal });
  addEventListener("online", connect, { signal });
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    stream.abort();
  });
  connect();
}
