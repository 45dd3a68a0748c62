/** What the reviews say of the model: accuracy, confusion matrix, calibration. */

import { getJson } from "./api.js";
import { drawCalibration } from "./calibration.js";
import { byId, element, setText } from "./dom.js";
import { onLanguage, t, write } from "./i18n.js";
import { fillMatrix } from "./matrix.js";

/** Milliseconds that further reviews are waited for, so that not each of many asks for all anew. */
const SOON = 300;

/** @type {object | null} */
let summary = null;
let listener = () => {};
let timer;

/** Requests reviewed in all. */
export const total = () => summary?.reviewed;

/** Calls back when there are new figures. */
export const onChange = (callback) => (listener = callback);

function tile(id, value, below) {
  setText(byId(id), { ".value": value, ".below": below });
}

function showTiles() {
  const { reviewed, unsure, accuracy, random } = summary;
  const count = (value) => write("count", value);
  const judged = (n) => t("of {count} that somebody was sure of", { count: count(n) });
  tile("figure-reviewed", count(reviewed), t("{count} of them unsure", { count: count(unsure) }));
  tile("figure-accuracy", write("percent", accuracy), judged(reviewed - unsure));
  tile("figure-random", write("percent", random.accuracy), judged(random.reviewed - random.unsure));
}

function showConfusion() {
  const { labels, counts } = summary.confusion;
  fillMatrix("confusion", t("The model says ↓, people say →"), labels, counts);
}

function showCalibration() {
  const bins = summary.calibration.filter(({ count }) => count > 0);
  byId("calibration").hidden = bins.length === 0;
  byId("calibration-none").hidden = bins.length > 0;
  byId("calibration-rows").replaceChildren(
    ...bins.map(({ from, to, count, confidence, accuracy }) => {
      const range = `${write("wholePercent", from)} – ${write("wholePercent", to)}`;
      const values = [range, write("count", count), write("percent", confidence), write("percent", accuracy)];
      return element("tr", {}, ...values.map((textContent) => element("td", { textContent })));
    }),
  );
  if (bins.length > 0) drawCalibration(byId("calibration-plot"), bins);
}

function show() {
  byId("figures").hidden = !summary;
  if (!summary) return;
  showTiles();
  showConfusion();
  showCalibration();
}

/** Fetches the figures, soon; reviews until then are in them. */
export function refresh(after = SOON) {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    try {
      summary = await getJson("review/summary");
      show();
      listener();
    } catch {
      // The old figures stay, and the next review asks again.
    }
  }, after);
}

onLanguage(show);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
