/** The view of what was answered, newest first. */

import { getJson } from "./api.js";
import * as detail from "./detail.js";
import { byId, copyOf, frame, save, say, setText } from "./dom.js";
import { download } from "./download.js";
import { collect, fileName, MOST } from "./export.js";
import * as filters from "./filters.js";
import { onLanguage, t, write } from "./i18n.js";
import { patiently } from "./patience.js";
import { judgement, source } from "./result.js";
import { showSmall } from "./thumbnails.js";

const PAGE = 24;

const list = byId("requests-list");

/** The filters shown. */
let query = new URLSearchParams();
/** Cursors of the pages up to the one shown; the first page has none. */
let trail = [null];
/** @type {{ requests: object[], next_cursor: string | null } | null} */
let page = null;
let loading = new AbortController();
/** Ends the fetching of small pictures for rows that are no longer there. */
let showing = new AbortController();
let exporting = null;

const address = () => {
  const text = String(filters.forAddress(query));
  return `#/requests${text && `?${text}`}`;
};

function row(record) {
  const item = copyOf("request-template");
  item.dataset.id = record.request_id;
  item.querySelector("a").href = `#/requests/${record.request_id}`;
  setText(item, {
    ".class": record.prediction,
    ".share": write("percent", record.confidence),
    ".name": record.image_name,
    time: write("moment", new Date(record.timestamp)),
    ".source": `${write("milliseconds", record.processing_time)} · ${source(record)}`,
  });
  item.querySelector(".bar").style.setProperty("--share", record.confidence);
  item.querySelector("time").dateTime = record.timestamp;
  const judged = judgement(record);
  const mark = item.querySelector(".review");
  mark.hidden = !judged;
  if (judged) {
    mark.textContent = judged.text;
    mark.title = t("Reviewed");
    mark.dataset.right = String(judged.right ?? "unsure");
  }
  return item;
}

function note(text, error) {
  byId("requests-note").textContent = text;
  byId("requests-note").classList.toggle("error", Boolean(error));
  byId("requests-again").hidden = !error;
}

function showPage() {
  const shown = page.requests.filter((record) => filters.passes(query, record));
  const rows = new Map(shown.map((record) => [record.request_id, row(record)]));
  list.replaceChildren(...rows.values());
  const formats = new Map(shown.map((record) => [record.request_id, record.image_format.toUpperCase()]));
  showing.abort();
  showing = new AbortController();
  showSmall(rows, showing.signal, (id, image) => {
    frame(rows.get(id).querySelector(".thumbnail"), image, formats.get(id));
  });

  const hidden = page.requests.length - shown.length;
  const narrowed = String(filters.forAddress(query)) !== "";
  const total = page.requests.length;
  let words = "";
  if (hidden > 0) {
    words = t("Hidden by the filters of this browser: {hidden} of {total} on this page.", { hidden, total });
  } else if (total === 0) {
    words = narrowed
      ? t("No request matches these filters.")
      : t("Nothing yet. Classify a picture and it will be here.");
  }
  note(words);

  byId("pages").hidden = trail.length === 1 && !page.next_cursor;
  byId("page-number").textContent = t("Page {page}", { page: write("count", trail.length) });
  byId("newer").disabled = trail.length === 1;
  byId("older").disabled = !page.next_cursor;
  byId("exports").hidden = shown.length === 0 && !page.next_cursor;
}

/** Loads the page at the end of the trail. */
async function load() {
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  const parameters = filters.forService(query);
  parameters.set("limit", PAGE);
  const cursor = trail.at(-1);
  if (cursor) parameters.set("cursor", cursor);
  list.setAttribute("aria-busy", "true");
  if (!page) note(t("Loading…"));
  try {
    page = await patiently(() => getJson(`requests?${parameters}`, { signal }), { signal });
    filters.offerOf(page.requests);
    showPage();
  } catch (error) {
    if (error.name === "AbortError") return;
    page = null;
    list.replaceChildren();
    byId("pages").hidden = byId("exports").hidden = true;
    note(error.message, error);
  }
  list.removeAttribute("aria-busy");
}

async function turn(by) {
  if (by > 0) trail.push(page.next_cursor);
  else trail.pop();
  await load();
  byId("requests-title").scrollIntoView();
  say(byId("page-number").textContent);
}

function reload() {
  trail = [null];
  return load();
}

function told(count, total) {
  return t("{count} of at most {most} requests read…", { count: write("count", count), most: write("count", total) });
}

async function exportAs(format) {
  exporting = new AbortController();
  const status = byId("export-status");
  byId("export-cancel").hidden = false;
  for (const button of document.querySelectorAll("[data-export]")) button.disabled = true;
  status.textContent = told(0, MOST);
  try {
    const { blob, count, complete } = await collect(format, query, {
      signal: exporting.signal,
      onProgress: (read) => (status.textContent = told(read, MOST)),
    });
    save(blob, fileName(format));
    const values = { count: write("count", count) };
    status.textContent = complete
      ? t("Requests saved: {count}", values)
      : t("Only the newest {count} were saved. Narrow the filters to get the others.", values);
  } catch (error) {
    status.textContent = error.name === "AbortError" ? t("Nothing was saved.") : error.message;
  }
  exporting = null;
  byId("export-cancel").hidden = true;
  for (const button of document.querySelectorAll("[data-export]")) button.disabled = false;
}

async function exportDataset() {
  const status = byId("export-status");
  const wider = filters.narrowsInBrowser(query);
  status.textContent = wider ? t("The filters of this browser do not apply to the pictures.") : "";
  try {
    await download(`dataset.zip?${filters.forService(query)}`, "dataset.zip");
  } catch (error) {
    status.textContent = error.message;
  }
}

/** Shows the list, or one request over it. */
export async function open({ rest, query: wanted }) {
  if (rest) {
    detail.open(rest, { requests: page?.requests ?? [], back: address(), onDeleted: load });
    // What is behind stays as it is.
    if (page) return;
  } else {
    const changed = String(filters.forAddress(wanted)) !== String(filters.forAddress(query));
    if (changed) trail = [null];
    query = wanted;
    filters.fill(query);
    if (detail.close() && page && !changed) return;
  }
  await Promise.all([load(), offerClasses()]);
}

async function offerClasses() {
  const { models } = await getJson("models").catch(() => ({ models: [] }));
  models.forEach(filters.offerModel);
}

export function close() {
  loading.abort();
  showing.abort();
  detail.close();
}

export function start() {
  filters.onChange((changed) => {
    const before = location.hash;
    query = changed;
    trail = [null];
    location.hash = address();
    if (location.hash === before) load();
  });
  // On a phone they would fill the screen.
  byId("filters-fold").open = matchMedia("(min-width: 46rem)").matches;
  byId("refresh").addEventListener("click", reload);
  byId("requests-again").addEventListener("click", load);
  byId("older").addEventListener("click", () => turn(1));
  byId("newer").addEventListener("click", () => turn(-1));
  byId("export-cancel").addEventListener("click", () => exporting?.abort());
  for (const button of document.querySelectorAll("[data-export]")) {
    button.addEventListener("click", () => exportAs(button.dataset.export));
  }
  byId("export-dataset").addEventListener("click", exportDataset);
  onLanguage(() => {
    if (page) showPage();
  });
}
