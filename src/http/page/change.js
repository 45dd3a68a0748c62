/** The dialog that tells what a change of models does, and then makes it. */

import { byId, setText } from "./dom.js";
import { onLanguage, t } from "./i18n.js";

const dialog = byId("change");
const form = dialog.querySelector("form");
const field = (name) => form.elements.namedItem(name);

/**
 * @typedef {object} Trial
 * @property {"shadow" | "canary"} role
 * @property {number} share of the traffic, above 0 and up to 1
 */

/**
 * What is asked. Its texts are functions: the language may change.
 * @typedef {object} Question
 * @property {() => string} title
 * @property {() => string} what
 * @property {() => string} action
 * @property {() => string} done
 * @property {Trial} [trial] is to be chosen, and begins like this
 * @property {(trial: Trial | undefined) => Promise<void>} make throws a refusal if it cannot be made
 */

/** @type {Question | null} */
let question = null;
/** Whether it is being made; a model takes seconds to load. */
let busy = false;
/** What had the focus before. */
let opener;
let onDone = async () => {};

function show() {
  setText(dialog, {
    "#change-title": question.title(),
    "#change-what": question.what(),
    "#change-now": busy ? t("Loading…") : question.action(),
  });
  // A button that is disabled would lose the focus.
  byId("change-now").ariaDisabled = String(busy);
  form.ariaBusy = String(busy);
  byId("change-trial").hidden = !question.trial;
  // What is hidden must not keep the form from being sent.
  for (const input of form.querySelectorAll("input")) input.disabled = !question.trial;
}

/** Asks, unless another change is still being made; then that is shown. */
export function ask(asked) {
  if (!busy) {
    question = asked;
    byId("change-error").textContent = "";
    if (asked.trial) {
      field("role").value = asked.trial.role;
      field("share").value = Number((asked.trial.share * 100).toPrecision(6));
    }
  }
  show();
  opener = document.activeElement;
  dialog.showModal();
}

function chosen() {
  const share = Number((Number(field("share").value) / 100).toPrecision(6));
  return { role: field("role").value, share };
}

async function make(event) {
  event.preventDefault();
  if (busy) return;
  const trial = question.trial && chosen();
  busy = true;
  byId("change-error").textContent = "";
  show();
  try {
    await question.make(trial);
    await onDone(question.done());
    dialog.close();
  } catch (error) {
    byId("change-error").textContent = error.message;
    // Whoever has closed it wants to know all the same.
    if (!dialog.open) dialog.showModal();
  }
  busy = false;
  show();
}

/** @param {(done: string) => Promise<void>} listener is called after a change, before the dialog closes */
export function start(listener) {
  onDone = listener;
  form.addEventListener("submit", make);
  byId("change-cancel").addEventListener("click", () => dialog.close());
  // What was pressed may be gone with what it changed.
  dialog.addEventListener("close", () => {
    if (opener.getClientRects().length === 0) byId("models-title").focus();
  });
  onLanguage(() => {
    if (question) show();
  });
}
