/** How the model that is tried out does, beside the one that answers. */

import { byId, copyOf, frame, setText } from "./dom.js";
import { t, unbroken, write } from "./i18n.js";
import { fillMatrix } from "./matrix.js";
import { showSmall } from "./thumbnails.js";

/** Classes that are told apart. */
const CLASSES = 10;

const grid = byId("disagreements");
const hovers = matchMedia("(hover: hover)");

/** The pairs shown, and their language. */
let shown = "";
let showing = new AbortController();

/** How long a model takes, in words; empty if it took no picture yet. */
export function duration({ p50_ms: p50, p99_ms: p99 }) {
  const [median, most] = [p50, p99].map((time) => write("milliseconds", time));
  return p50 === null ? "" : t("{median}, 99 % below {most}", { median, most });
}

function showTiles({ model, active, agreement, latency }) {
  const count = (value) => write("count", value);
  const values = { agreed: count(agreement.agreed), compared: count(agreement.compared) };
  const below = t("{agreed} of {compared} pictures", values);
  const skipped = t("{count} left out, for want of time", { count: count(agreement.skipped) });
  setText(byId("trial-agreement"), {
    ".value": write("percent", agreement.ratio),
    ".below": agreement.skipped > 0 ? unbroken(below, skipped) : below,
  });
  const time = (id, of, { count: pictures, p50_ms: median, p99_ms: most }) => {
    const seen = t("pictures: {count}", { count: count(pictures) });
    const slowest = t("99 % below {most}", { most: write("milliseconds", most) });
    setText(byId(id), {
      h3: t("Median time of {model}", { model: of }),
      ".value": write("milliseconds", median),
      ".below": pictures > 0 ? unbroken(slowest, seen) : seen,
    });
  };
  time("trial-active", active, latency.active);
  time("trial-candidate", model, latency.candidate);
}

/** The pairs as a table of the most frequent classes, and how often others were said. */
export function square(pairs, most = CLASSES) {
  const often = new Map();
  for (const { active, candidate, count } of pairs) {
    for (const said of new Set([active, candidate])) often.set(said, (often.get(said) ?? 0) + count);
  }
  const labels = [...often.keys()].sort((a, b) => often.get(b) - often.get(a)).slice(0, most);
  // In an order that stays.
  labels.sort();
  const counts = labels.map(() => labels.map(() => 0));
  let rest = 0;
  for (const { active, candidate, count } of pairs) {
    const [row, column] = [active, candidate].map((said) => labels.indexOf(said));
    if (row < 0 || column < 0) rest += count;
    else counts[row][column] += count;
  }
  return { labels, counts, rest };
}

function showPairs({ pairs }) {
  const corner = t("Answered ↓, candidate →");
  const now = JSON.stringify([corner, pairs]);
  if (now === shown) return;
  shown = now;
  const { labels, counts, rest } = square(pairs);
  fillMatrix("pairs", corner, labels, counts);
  byId("pairs-rest").textContent = rest > 0 ? t("{count} with rarer classes", { count: write("count", rest) }) : "";
}

function disagreement({ request_id: id }) {
  const item = copyOf("disagreement-template");
  item.dataset.id = id;
  item.querySelector("a").href = `#/models/${id}`;
  frame(item.querySelector(".thumbnail"));
  return item;
}

/** Fetches the pictures that are still missing; those that are gone are not asked for again. */
function showPictures() {
  showing.abort();
  showing = new AbortController();
  const waiting = [...grid.children].filter((item) => !item.dataset.pictured);
  const items = new Map(waiting.map((item) => [item.dataset.id, item]));
  showSmall(items, showing.signal, (id, image) => {
    const item = items.get(id);
    item.dataset.pictured = "yes";
    frame(item.querySelector(".thumbnail"), image);
  });
}

function showDisagreements({ disagreements }) {
  byId("disagreements-none").hidden = disagreements.length > 0;
  const items = new Map([...grid.children].map((item) => [item.dataset.id, item]));
  const fresh = disagreements.filter(({ request_id: id }) => !items.has(id));
  // What is about to be clicked stays where it is.
  if (items.size === 0 || !hovers.matches || !grid.matches(":hover")) {
    const added = new Map(fresh.map((one) => [one.request_id, disagreement(one)]));
    for (const [id, item] of added) items.set(id, item);
    grid.prepend(...added.values());
    const wanted = new Set(disagreements.map(({ request_id: id }) => id));
    for (const [id, item] of items) {
      if (!wanted.has(id) && !item.contains(document.activeElement)) item.remove();
    }
    if (fresh.length > 0) showPictures();
  }
  const said = ({ prediction, confidence }) => `${prediction} ${write("percent", confidence)}`;
  for (const { request_id: id, active, candidate } of disagreements) {
    const item = items.get(id);
    if (item) setText(item, { ".active": said(active), ".candidate": said(candidate) });
  }
}

/** Shows a report; null if no model is tried out. */
export function show(report) {
  byId("trial").hidden = !report;
  if (!report) return clear();
  const { model, active, role, share, since } = report;
  const values = { share: write("wholePercent", share), since: write("moment", new Date(since)) };
  setText(byId("trial"), {
    "#trial-title": t("{model} is being tried out beside {active}", { model, active }),
    "#trial-how":
      role === "canary"
        ? t("Canary since {since}: answers {share} of the clients", values)
        : t("Shadow since {since}: sees {share} of the new pictures", values),
  });
  // Another trial has other pictures.
  const trial = `${model} ${since}`;
  if (grid.dataset.trial !== trial) clear();
  grid.dataset.trial = trial;
  showTiles(report);
  showPairs(report);
  showDisagreements(report);
}

/** Forgets the pictures, and fetches no more of them. */
function clear() {
  showing.abort();
  showing = new AbortController();
  grid.replaceChildren();
}
