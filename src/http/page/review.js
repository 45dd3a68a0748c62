/** The view in which people say what pictures show. */

import { call, getJson } from "./api.js";
import { byId, element, say } from "./dom.js";
import { download } from "./download.js";
import * as figures from "./figures.js";
import { onLanguage, t, write } from "./i18n.js";
import * as labels from "./labels.js";
import { patiently } from "./patience.js";
import { verdict } from "./result.js";

const REVEAL = "relance-review-reveal";

const picture = byId("review-picture");
const note = byId("review-text");

/** What is shown; null if there is nothing. */
let record = null;
/** Requests labelled or passed over since the page was opened, in their order. */
const trail = [];
/** How far back in the trail the one shown is; 0 if it is a new one. */
let back = 0;
/** The last one that was labelled, with its review. */
let last = null;
let labelled = 0;
/** Who loads what is shown; another loading takes its place. */
let loading = new AbortController();
let busy = false;
let url = "";

const model = ({ name, version }) => `${name}@${version}`;
let served = { name: "", classes: [] };

/** The classes of the model that answered, as far as they are known. */
function classesOf({ model: answered, top }) {
  if (model(answered) === served.name) return served.classes;
  return [...new Set([...served.classes, ...top.map((score) => score.class)])];
}

/** Whoever sees what the model says agrees with it more often, and the accuracy looks better than it is. */
const revealed = () => byId("review-reveal").checked || Boolean(record?.review);

function showTexts() {
  byId("review-prediction").textContent = !record
    ? ""
    : revealed()
      ? t("The model says {class}, {share}.", { class: record.prediction, share: write("percent", record.confidence) })
      : t("What the model says is shown once you have said it.");
  const { total } = figures;
  byId("review-progress").textContent = t("{count} labelled since you opened this page · {total} in all", {
    count: write("count", labelled),
    total: write("count", total()),
  });
  byId("review-last").textContent = last
    ? t("Before: you said {label}; {verdict} ({class}, {share}).", {
        label: last.review.label === labels.UNSURE ? t("unsure") : last.review.label,
        verdict: verdict(last.record, last.review),
        class: last.record.prediction,
        share: write("percent", last.record.confidence),
      })
    : "";
}

function message(text, error = false) {
  byId("review-message").textContent = text;
  byId("review-message").classList.toggle("error", error);
  byId("review-choices").hidden = !text;
  byId("review-return").hidden = back >= trail.length;
}

async function showPicture({ request_id: id, image_format: format }, signal) {
  const show = (blob) => {
    if (url) URL.revokeObjectURL(url);
    url = URL.createObjectURL(blob);
    // Its name may tell what it shows.
    const image = element("img", { src: url, alt: t("Picture to review") });
    return image.decode().then(() => picture.replaceChildren(image));
  };
  const get = async (what) => (await patiently(() => call(`requests/${id}/${what}`, { signal }), { signal })).blob();
  try {
    // Few browsers show TIFF.
    await show(await get("image")).catch(async () => show(await get("thumbnail")));
  } catch (error) {
    if (signal.aborted) return;
    const words = element("p", { textContent: `${format.toUpperCase()}: ${error.message}` });
    picture.replaceChildren(words);
  }
}

/** Shows what `load` gives: a record, or null if nothing is left. */
async function show(load) {
  loading.abort();
  const { signal } = (loading = new AbortController());
  busy = true;
  byId("review-body").setAttribute("aria-busy", "true");
  try {
    const loaded = await patiently(() => load(signal), { signal });
    if (signal.aborted) return;
    record = loaded;
    byId("review-body").hidden = !record;
    message(record ? "" : t("Nothing is left to review."));
    if (record) {
      labels.offer(classesOf(record), record.review?.label ?? null);
      note.value = record.review?.note ?? "";
      byId("review-panel").dataset.id = record.request_id;
      await showPicture(record, signal);
    }
  } catch (error) {
    if (signal.aborted) return;
    record = null;
    byId("review-body").hidden = true;
    message(error.message, true);
  }
  if (signal.aborted) return;
  busy = false;
  byId("review-body").removeAttribute("aria-busy");
  // A button that is disabled would lose the focus.
  byId("review-back").ariaDisabled = String(back >= trail.length);
  showTexts();
}

/** The next one that the service wants to be reviewed. */
const next = (skipped) =>
  show(async (signal) => {
    const answer = await call(`review/next${skipped ? `?skip=${skipped}` : ""}`, { signal });
    return answer.status === 204 ? null : answer.json();
  });

const one = (id) => show((signal) => getJson(`requests/${encodeURIComponent(id)}`, { signal }));

/** One step back: to the request before, which can be labelled anew. */
function goBack() {
  if (busy || back >= trail.length) return;
  back += 1;
  one(trail.at(-back));
}

function goOn(skipped) {
  back = 0;
  if (location.hash !== "#/review") history.replaceState(null, "", "#/review");
  return next(skipped);
}

async function label(name) {
  if (busy || !record) return;
  busy = true;
  const { request_id: id } = record;
  try {
    const answer = await patiently(() =>
      call(`requests/${id}/review`, {
        method: "PUT",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ label: name, note: note.value.trim() || null }),
      }),
    );
    last = { record, review: await answer.json() };
  } catch (error) {
    busy = false;
    return message(error.message, true);
  }
  // Labelled anew, it is still one.
  if (back === 0) {
    trail.push(id);
    labelled += 1;
  }
  figures.refresh();
  await goOn();
  say(byId("review-last").textContent);
}

async function skip() {
  if (busy || !record) return;
  const { request_id: id } = record;
  if (back === 0) trail.push(id);
  await goOn(back === 0 ? id : undefined);
}

async function saveDataset() {
  const status = byId("review-status");
  status.textContent = "";
  try {
    await download("dataset.zip", "dataset.zip");
  } catch (error) {
    status.textContent = error.message;
  }
}

/** Shows the next request to review, or the one with this identifier. */
export async function open({ rest }) {
  figures.refresh(0);
  const { models } = await getJson("models").catch(() => ({ models: [] }));
  const active = models.find((one) => one.active);
  if (active) served = { name: model(active), classes: active.classes };
  back = 0;
  await (rest ? one(rest) : next());
}

export function close() {
  loading.abort();
}

export function start() {
  byId("review-reveal").checked = localStorage.getItem(REVEAL) === "on";
  byId("review-reveal").addEventListener("change", (event) => {
    localStorage.setItem(REVEAL, event.target.checked ? "on" : "off");
    showTexts();
  });
  note.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === "Escape") note.blur();
  });
  labels.start({
    label,
    skip,
    back: goBack,
    note: () => note.focus(),
    reveal: () => byId("review-reveal").click(),
    listens: () => !byId("review").hidden && !document.querySelector("dialog[open]"),
  });
  byId("review-again").addEventListener("click", () => goOn());
  byId("review-return").addEventListener("click", goBack);
  byId("review-dataset").addEventListener("click", (event) => {
    event.preventDefault();
    saveDataset();
  });
  figures.onChange(showTexts);
  onLanguage(showTexts);
}
