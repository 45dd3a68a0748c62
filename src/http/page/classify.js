/** The view that classifies pictures. */

import { call } from "./api.js";
import { byId, copyOf, element, frame, say, setText } from "./dom.js";
import { onLanguage, t, write } from "./i18n.js";
import { inLanes, patiently } from "./patience.js";
import { complaint, scores, size, source, stages } from "./result.js";
import { shrink } from "./thumbnails.js";

// Pictures sent at once; browsers open about six connections, and the lists need some too.
const LANES = 4;
/** Results kept on the page; the oldest make room. */
const MOST = 500;
const SIDE = 112;
/** Batches up to this size are spoken picture by picture. */
const SPOKEN = 5;

/**
 * @typedef {object} Item
 * @property {File} file
 * @property {HTMLElement} card
 * @property {"waiting" | "sending" | "done" | "failed"} state
 * @property {object} [answer]
 * @property {string} [timing]
 * @property {number} [roundTrip] milliseconds
 * @property {Error} [error]
 * @property {number} [wait] seconds
 */

/** @type {Item[]} newest first */
let items = [];
const results = byId("results");

/** The pictures of the batches under way. */
let batch = [];
let stopping = new AbortController();

function show(item) {
  const { card, answer } = item;
  card.dataset.state = item.state;
  card.toggleAttribute("aria-busy", item.state === "waiting" || item.state === "sending");
  setText(card, { h3: item.file.name });
  card.querySelector(".again").hidden = item.state !== "failed";
  card.querySelector(".more").hidden = !answer;
  if (item.state === "done") {
    setText(card, {
      ".answer": answer.prediction,
      ".facts": [
        write("milliseconds", answer.processing_time),
        source(answer),
        size(answer.image.format, answer.image.width, answer.image.height),
      ].join(" · "),
      ".timing": [
        stages(item.timing),
        t("round trip {time}", { time: write("milliseconds", item.roundTrip) }),
      ].filter(Boolean).join(" · "),
    });
    card.querySelector(".bars").replaceChildren(...scores(answer));
    card.querySelector(".more").href = `#/requests/${answer.request_id}`;
  } else if (item.state === "failed") {
    const { title, detail } = complaint(item.error);
    setText(card, { ".answer": title, ".facts": detail, ".timing": "" });
  } else {
    const text = item.wait ? t("Busy; again in {wait} s", { wait: item.wait }) : t("Classifying…");
    setText(card, { ".answer": item.state === "waiting" ? t("Waiting…") : text, ".facts": "", ".timing": "" });
  }
}

function add(file) {
  const item = { file, card: copyOf("result-template"), state: "waiting" };
  item.card.querySelector(".again").addEventListener("click", () => work([item]));
  show(item);
  return item;
}

async function classify(item, signal) {
  const body = new FormData();
  body.append("image", item.file);
  item.state = "sending";
  show(item);
  try {
    // Not the queueing, but each try is timed.
    let sent;
    const post = () => {
      item.wait = undefined;
      show(item);
      sent = performance.now();
      return call("predict", { method: "POST", body, signal });
    };
    const onWait = (seconds) => {
      item.wait = seconds;
      show(item);
    };
    const response = await patiently(post, { signal, onWait });
    item.answer = await response.json();
    item.roundTrip = performance.now() - sent;
    item.timing = response.headers.get("Server-Timing");
    item.state = "done";
  } catch (error) {
    item.error = error.name === "AbortError" ? new Error(t("Stopped before its answer came.")) : error;
    item.state = "failed";
  }
  show(item);
}

async function drawThumbnail(item) {
  if (item.drawn) return;
  item.drawn = true;
  const note = item.file.name.split(".").pop().slice(0, 5).toUpperCase();
  frame(item.card.querySelector(".thumbnail"), await shrink(item.file, SIDE), note);
}

function showProgress() {
  const finished = batch.filter(({ state }) => state === "done" || state === "failed");
  const under = finished.length < batch.length;
  const classes = new Map();
  for (const { answer, state } of finished) {
    const name = state === "done" ? answer.prediction : t("failed");
    classes.set(name, (classes.get(name) ?? 0) + 1);
  }
  const tally = [...classes].map(([name, count]) => `${name} ${write("count", count)}`).join(" · ");
  byId("batch").hidden = batch.length < 2;
  Object.assign(byId("batch-progress"), { max: batch.length, value: finished.length });
  byId("batch-progress").ariaLabel = t("Progress");
  byId("batch-text").textContent = [
    t("{done} of {total}", { done: write("count", finished.length), total: write("count", batch.length) }),
    tally,
  ].filter(Boolean).join(" · ");
  byId("stop").hidden = !under;
  byId("batch").classList.toggle("over", !under);
}

function tell(item) {
  if (item.state === "failed") say(`${item.file.name}: ${complaint(item.error).title}. ${item.error.message}`);
  else say(`${item.file.name}: ${item.answer.prediction}, ${write("percent", item.answer.confidence)}`);
}

async function work(chosen) {
  const idle = batch.every(({ state }) => state === "done" || state === "failed");
  if (idle) {
    batch = [];
    stopping = new AbortController();
  }
  batch.push(...chosen.filter((item) => !batch.includes(item)));
  for (const item of chosen) {
    item.state = "waiting";
    show(item);
  }
  showProgress();
  const { signal } = stopping;
  await inLanes(LANES, chosen, async (item) => {
    await Promise.all([classify(item, signal), drawThumbnail(item)]);
    if (chosen.length <= SPOKEN) tell(item);
    showProgress();
  });
  if (chosen.length > SPOKEN) say(byId("batch-text").textContent);
}

/** Classifies files, newest first in the list. */
export function classifyAll(files) {
  const chosen = [...files].map(add);
  if (chosen.length === 0) return;
  location.hash = "#/classify";
  items.unshift(...chosen);
  const old = items.splice(MOST);
  for (const { card } of old) card.remove();
  if (old.length > 0) byId("results-note").hidden = false;
  results.prepend(...chosen.slice(0, MOST).map(({ card }) => card));
  byId("results-section").hidden = false;
  work(chosen);
}

function clear() {
  stopping.abort();
  items = batch = [];
  results.replaceChildren();
  byId("results-section").hidden = byId("results-note").hidden = true;
  byId("files").focus();
}

async function showSamples() {
  // Samples are open to all, as the page is.
  const names = await (await fetch("page/samples.json")).json();
  const buttons = names.map((name) => {
    const picture = element("img", { src: `page/samples/${name}`, alt: "", width: 72, height: 72 });
    const button = element("button", { type: "button", className: "sample", ariaLabel: name }, picture);
    button.addEventListener("click", async () => {
      const blob = await (await fetch(picture.src)).blob();
      classifyAll([new File([blob], name, { type: blob.type })]);
    });
    return element("li", {}, button);
  });
  byId("samples").replaceChildren(...buttons);
}

function listenForPictures() {
  for (const input of [byId("files"), byId("camera")]) {
    input.addEventListener("change", () => {
      classifyAll(input.files);
      // So that the same file can be chosen again.
      input.value = "";
    });
  }
  const picker = byId("picker");
  addEventListener("paste", (event) => classifyAll(event.clipboardData.files));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    picker.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    // Without a related target it has left the window.
    if (!event.relatedTarget) picker.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    picker.classList.remove("over");
    classifyAll(event.dataTransfer.files);
  });
}

/** The view is always ready. */
export function open() {}

export function start() {
  listenForPictures();
  byId("clear").addEventListener("click", clear);
  byId("stop").addEventListener("click", () => stopping.abort());
  showSamples().catch(() => byId("samples-section").remove());
  onLanguage(() => {
    for (const item of items) {
      translateCard(item);
      show(item);
    }
    showProgress();
  });
}

// The words that came with the template.
function translateCard({ card }) {
  for (const marked of card.querySelectorAll("[data-t]")) marked.textContent = t(marked.dataset.t);
}
