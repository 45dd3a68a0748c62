/** One request with everything that is recorded of it, over the list. */

import { call, getJson } from "./api.js";
import { byId, element, save, say, setText } from "./dom.js";
import { onLanguage, t, write } from "./i18n.js";
import { judgement, reference, scores, size, source, verdict } from "./result.js";

const dialog = byId("detail");
const picture = byId("detail-picture");

let record = null;
/** The requests of the list behind, the address of the list, and who is told after one was deleted. */
let behind = { requests: [], back: "#/requests", onDeleted: () => {} };
let loading = new AbortController();
let url = "";
/** The picture as it was sent. */
let original = null;

/** What another model said of the picture, if one did. */
function opinion() {
  if (!record.opinion) return {};
  const { model, prediction, confidence, inference_ms: time, agrees } = record.opinion;
  const said = `${reference(model)}: ${prediction} ${write("percent", confidence)}`;
  const judged = agrees ? t("says the same") : t("says another class");
  return { [t("Other model")]: [said, judged, write("milliseconds", time)].join(" · ") };
}

function facts() {
  const { model } = record;
  return {
    [t("Request")]: record.request_id,
    [t("Time")]: `${write("moment", new Date(record.timestamp))} (${record.timestamp})`,
    [t("Duration")]: `${write("milliseconds", record.processing_time)} · ${source(record)}`,
    [t("Model")]: reference(model),
    ...opinion(),
    [t("Picture")]: size(record.image_format, record.image_width, record.image_height),
    "SHA-256": record.image_sha256,
    [t("Kept as")]: record.image_ref ?? t("not kept"),
    [t("Client")]: record.client ?? t("anonymous"),
    [t("Address")]: record.user_ip ?? t("not kept"),
    [t("Instance")]: record.instance,
    [t("HTTP status")]: String(record.status),
  };
}

/** What people said of it, the last word first. */
function showReview() {
  const { review, review_history: history = [] } = record;
  const judged = judgement(record);
  byId("detail-judged").textContent = judged
    ? t("Reviewed as {label}: {verdict}.", { label: judged.text, verdict: verdict(record, review) })
    : t("Nobody has reviewed it.");
  byId("detail-label").href = `#/review/${record.request_id}`;
  const items = history.toReversed().map(({ label, note, reviewer, reviewed_at: at }) => {
    const said = `${label === "unsure" ? t("unsure") : label} · ${reviewer} · ${write("moment", new Date(at))}`;
    return element("li", { textContent: note ? `${said} · ${note}` : said });
  });
  byId("detail-history").replaceChildren(...items);
}

function show() {
  showReview();
  setText(dialog, {
    "#detail-title": record.prediction,
    "#detail-name": record.image_name,
    "#detail-share": write("percent", record.confidence),
    "#detail-json": JSON.stringify(record, null, 2),
  });
  byId("detail-bars").replaceChildren(...scores(record));
  const pairs = Object.entries(facts()).flatMap(([name, value]) => [
    element("dt", { textContent: name }),
    element("dd", { textContent: value }),
  ]);
  byId("detail-facts").replaceChildren(...pairs);
}

function forget() {
  if (url) URL.revokeObjectURL(url);
  url = "";
  original = null;
  picture.replaceChildren();
  byId("detail-save").disabled = true;
}

async function showPicture(id, signal) {
  const answer = await call(`requests/${id}/image`, { signal });
  original = await answer.blob();
  url = URL.createObjectURL(original);
  byId("detail-save").disabled = false;
  const image = element("img", { src: url, alt: record?.image_name ?? "" });
  image.addEventListener("error", () => {
    picture.textContent = t("This browser cannot show the format of this picture. It can be saved.");
  });
  picture.replaceChildren(image);
}

/** Whether to ask if the request is really to be deleted. */
function confirm(asked) {
  byId("detail-confirm").hidden = !asked;
  byId("detail-actions").hidden = asked;
  if (asked) byId("detail-keep").focus();
}

const neighbour = (by) => {
  const at = behind.requests.findIndex(({ request_id: id }) => id === record?.request_id);
  return at < 0 ? undefined : behind.requests[at + by];
};

function step(by) {
  const next = neighbour(by);
  if (next) location.replace(`${behind.back.split("?")[0]}/${next.request_id}`);
}

/**
 * Opens the request with this identifier.
 * @param {{ requests: { request_id: string }[], back: string, onDeleted: () => void }} list what is behind it
 */
export async function open(id, list) {
  behind = list;
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  forget();
  confirm(false);
  byId("detail-error").textContent = "";
  dialog.setAttribute("aria-busy", "true");
  if (!dialog.open) {
    dialog.showModal();
    // The first button would be disabled, and lose the focus, where there is nothing newer.
    byId("detail-close").focus();
  }
  try {
    record = await getJson(`requests/${encodeURIComponent(id)}`, { signal });
    show();
    byId("detail-body").hidden = false;
    byId("detail-newer").disabled = !neighbour(-1);
    byId("detail-older").disabled = !neighbour(1);
    await showPicture(id, signal).catch((error) => {
      if (error.name !== "AbortError") picture.textContent = error.message;
    });
  } catch (error) {
    if (error.name === "AbortError") return;
    record = null;
    byId("detail-body").hidden = true;
    setText(dialog, { "#detail-title": t("This request cannot be shown"), "#detail-name": "", "#detail-share": "" });
    byId("detail-error").textContent = error.message;
  }
  dialog.removeAttribute("aria-busy");
}

/** Closes it; tells whether it was open. */
export function close() {
  const was = dialog.open;
  loading.abort();
  if (was) dialog.close();
  forget();
  record = null;
  return was;
}

async function remove() {
  const { request_id: id } = record;
  byId("detail-delete-now").disabled = true;
  try {
    await call(`requests/${id}`, { method: "DELETE" });
    say(t("The request was deleted."));
    location.hash = behind.back;
    await behind.onDeleted();
  } catch (error) {
    confirm(false);
    byId("detail-error").textContent = error.message;
  }
  byId("detail-delete-now").disabled = false;
}

export function start() {
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    location.hash = behind.back;
  });
  dialog.addEventListener("click", (event) => {
    // On the backdrop, which is all of the dialog that its content does not cover.
    if (event.target === dialog) location.hash = behind.back;
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  byId("detail-close").addEventListener("click", () => (location.hash = behind.back));
  byId("detail-newer").addEventListener("click", () => step(-1));
  byId("detail-older").addEventListener("click", () => step(1));
  byId("detail-delete").addEventListener("click", () => confirm(true));
  byId("detail-keep").addEventListener("click", () => {
    confirm(false);
    byId("detail-delete").focus();
  });
  byId("detail-delete-now").addEventListener("click", remove);
  byId("detail-save").addEventListener("click", () => save(original, record.image_name));
  onLanguage(() => {
    if (record) show();
  });
}
