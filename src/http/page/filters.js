/**
 * The filters of the requests: a form, the part of the address after the #, and parameters of the
 * API are three ways to write the same.
 */

import { byId, element } from "./dom.js";
import { t } from "./i18n.js";

/** What the service filters by. */
const BY_SERVICE = [
  "prediction", "min_confidence", "max_confidence", "from", "to", "reviewed", "label", "disagrees", "differs", "model",
];
/** What only the browser can filter by, among what it has loaded. */
const BY_BROWSER = ["source"];

const form = byId("filters");
const field = (name) => form.elements.namedItem(name);

const modelOf = (record) => `${record.model.name}@${record.model.version}`;

/** Parameters of the address that are filters; others are left out. */
function only(names, query) {
  return new URLSearchParams(names.flatMap((name) => (query.get(name) ? [[name, query.get(name)]] : [])));
}

/** What the choices of the review field are as parameters. */
const REVIEWS = {
  none: { reviewed: "false" },
  reviewed: { reviewed: "true" },
  agrees: { disagrees: "false" },
  disagrees: { disagrees: "true" },
  unsure: { label: "unsure" },
};

/** The choice that stands for parameters. */
function reviewOf(query) {
  const matches = ([, wanted]) => Object.entries(wanted).every(([name, value]) => query.get(name) === value);
  return Object.entries(REVIEWS).find(matches)?.[0];
}

/** The filters as parameters of `GET /requests`. */
export const forService = (query) => only(BY_SERVICE, query);

/** All filters, as they stand in the address. */
export const forAddress = (query) => only([...BY_SERVICE, ...BY_BROWSER], query);

/** Whether a record passes the filters of the browser. */
export function passes(query, record) {
  const source = query.get("source");
  return !source || record.cached === (source === "cached");
}

export const narrowsInBrowser = (query) => BY_BROWSER.some((name) => query.get(name));

/** RFC 3339 to the local time that `<input type=datetime-local>` wants. */
function toLocal(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "";
  return new Date(date - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

const toUtc = (local) => (local ? new Date(local).toISOString() : "");

const toPercent = (ratio) => (ratio ? String(Number((Number(ratio) * 100).toPrecision(6))) : "");
const toRatio = (percent) => (percent ? String(Number((Number(percent) / 100).toPrecision(6))) : "");

/** Sets the form by the address. */
export function fill(query) {
  const values = {
    prediction: query.get("prediction"),
    review: reviewOf(query),
    label: query.get("label") === "unsure" ? "" : query.get("label"),
    model: query.get("model"),
    differs: query.get("differs"),
    source: query.get("source"),
    min_confidence: toPercent(query.get("min_confidence")),
    max_confidence: toPercent(query.get("max_confidence")),
    from: query.get("from") && toLocal(query.get("from")),
    to: query.get("to") && toLocal(query.get("to")),
  };
  for (const [name, value] of Object.entries(values)) {
    const input = field(name);
    // A class or model that was not offered yet.
    if (value && input.options && ![...input.options].some((option) => option.value === value)) {
      offer(name, [value]);
    }
    input.value = value ?? "";
  }
}

/** What the form says, as parameters of the address. */
export function read() {
  const values = {
    prediction: field("prediction").value,
    min_confidence: toRatio(field("min_confidence").value),
    max_confidence: toRatio(field("max_confidence").value),
    from: toUtc(field("from").value),
    to: toUtc(field("to").value),
    model: field("model").value,
    differs: field("differs").value,
    source: field("source").value,
    label: field("label").value,
    ...REVIEWS[field("review").value],
  };
  return forAddress(new URLSearchParams(values));
}

function offer(name, values) {
  const select = field(name);
  const known = new Set([...select.options].map((option) => option.value));
  const added = values.filter((value) => !known.has(value));
  select.append(...new Set(added.map((value) => element("option", { value, textContent: value }))));
}

/** Offers the classes and the name of a model of the service. */
export function offerModel(model) {
  // Those of a file that cannot be read are not known.
  const classes = model.classes ?? [];
  offer("prediction", classes);
  offer("label", classes);
  offer("model", [modelOf({ model })]);
}

/** Offers what these records have; the service may have had another model before. */
export function offerOf(records) {
  offer("prediction", [...new Set(records.map((record) => record.prediction))]);
  offer("label", [...new Set(records.map(({ review }) => review?.label).filter((label) => label && label !== "unsure"))]);
  offer("model", [...new Set(records.map(modelOf))]);
}

/** Refuses ranges that hold nothing, in the browser's own words and place. */
function checkRanges() {
  const [low, high, from, to] = ["min_confidence", "max_confidence", "from", "to"].map(field);
  const crossed = low.value && high.value && Number(low.value) > Number(high.value);
  high.setCustomValidity(crossed ? t("This is below the least confidence.") : "");
  const reversed = from.value && to.value && from.value >= to.value;
  to.setCustomValidity(reversed ? t("This is before the beginning.") : "");
}

/** Calls back with new filters whenever a field was changed, or all were cleared. */
export function onChange(listener) {
  const changed = () => {
    checkRanges();
    if (form.reportValidity()) listener(read());
  };
  form.addEventListener("change", changed);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    changed();
  });
  byId("clear-filters").addEventListener("click", () => {
    form.reset();
    checkRanges();
    listener(read());
  });
}
