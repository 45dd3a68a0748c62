/** How an answer is shown, wherever it is. */

import { copyOf, setText } from "./dom.js";
import { t, write } from "./i18n.js";

/** A model as the API names it where one text is wanted. */
export const reference = ({ name, version }) => `${name}@${version}`;

/** One bar for each share, the first one stressed. */
export function bars(shares) {
  return shares.map(({ name, share, note }) => {
    const bar = copyOf("bar-template");
    setText(bar, { ".class": name, ".share": note ?? write("percent", share) });
    bar.style.setProperty("--share", share);
    return bar;
  });
}

/** The bars of the most likely classes of an answer or record. */
export const scores = (answer) => bars(answer.top.map((score) => ({ name: score.class, share: score.confidence })));

/** Whether a review agrees with the model, in words. */
export function verdict(record, review) {
  if (review.label === "unsure") return t("nobody knows whether the model is right");
  return review.label === record.prediction ? t("the model agrees") : t("the model is wrong");
}

/** A review in a word or two, and whether it agrees with the model; undefined if somebody was unsure. */
export function judgement(record) {
  const { review, prediction } = record;
  if (!review) return null;
  const unsure = review.label === "unsure";
  return { text: unsure ? t("unsure") : review.label, right: unsure ? undefined : review.label === prediction };
}

/** Whether the work was done for this request. */
export const source = (answer) => t(answer.cached ? "cached" : "computed");

export const size = (format, width, height) => `${format.toUpperCase()} ${width} × ${height}`;

const STAGES = { queue: "queue", decode: "decode", preprocess: "prepare", inference: "inference" };

/** The stages in a Server-Timing header, in words and milliseconds; empty if nothing had to be done. */
export function stages(header) {
  const found = (header ?? "").matchAll(/(\w+);dur=([\d.]+)/g);
  const told = [...found].filter(([, name]) => STAGES[name]);
  return told.map(([, name, time]) => `${t(STAGES[name])} ${write("tenths", Number(time))}`).join(" · ");
}

/** What went wrong, in a few words and in full. */
export const complaint = (error) => ({
  title: error.title ? t(error.title) : t("Not classified"),
  detail: error.message,
});
