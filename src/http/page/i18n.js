/** The language of the page, and how it writes numbers and times. */

import { portuguese } from "./portuguese.js";

const STORED = "relance-language";
const preferred = navigator.language || "en";
const listeners = [];

let locale = "en";
let formats;

/** `en` or `pt`. */
export const language = () => (locale.toLowerCase().startsWith("pt") ? "pt" : "en");

/** The text in the language of the page, with `{names}` replaced by values. */
export function t(text, values = {}) {
  const words = (language() === "pt" && portuguese[text]) || text;
  return words.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Calls back when another language was chosen. */
export const onLanguage = (listener) => listeners.push(listener);

/** Translates what is marked in the document; its English text is the key. */
export function translate(root) {
  for (const marked of root.querySelectorAll("[data-t]")) {
    marked.dataset.t ||= marked.textContent;
    marked.textContent = t(marked.dataset.t);
  }
  for (const marked of root.querySelectorAll("[data-t-label]")) marked.ariaLabel = t(marked.dataset.tLabel);
}

function use(chosen) {
  // A regional form of the language is kept: it decides how dates are written.
  if (preferred.slice(0, 2).toLowerCase() === chosen) locale = preferred;
  else locale = chosen === "pt" ? "pt-BR" : "en";
  const number = (options) => new Intl.NumberFormat(locale, options);
  const time = (options) => new Intl.DateTimeFormat(locale, options);
  formats = {
    count: number({ maximumFractionDigits: 0 }),
    rate: number({ maximumSignificantDigits: 3 }),
    percent: number({ style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }),
    wholePercent: number({ style: "percent", maximumFractionDigits: 1 }),
    tenths: number({ minimumFractionDigits: 1, maximumFractionDigits: 1 }),
    milliseconds: number({ style: "unit", unit: "millisecond", maximumSignificantDigits: 3 }),
    megabytes: number({ style: "unit", unit: "megabyte", maximumSignificantDigits: 3 }),
    seconds: number({ style: "unit", unit: "second", maximumSignificantDigits: 3 }),
    moment: time({ dateStyle: "short", timeStyle: "medium" }),
    clock: time({ timeStyle: "medium" }),
    minute: time({ timeStyle: "short" }),
  };
  document.documentElement.lang = locale;
  for (const template of document.querySelectorAll("template")) translate(template.content);
  translate(document);
}

/** Writes a value as one of the formats above; a value that is not there as a dash. */
export const write = (format, value) =>
  value === undefined || value === null || Number.isNaN(value) ? "–" : formats[format].format(value);

/** Joins short texts; lines break between them and not within. */
export const unbroken = (...parts) => parts.map((part) => part.replaceAll(" ", "\u00a0")).join(" · ");

/** Starts with the language chosen before, else with the browser's. */
export function start(select) {
  const first = preferred.toLowerCase().startsWith("pt") ? "pt" : "en";
  use(localStorage.getItem(STORED) ?? first);
  select.value = language();
  select.addEventListener("change", () => {
    localStorage.setItem(STORED, select.value);
    use(select.value);
    for (const listener of listeners) listener();
  });
}
