/** The labels that can be given in review mode, as buttons and as single keys. */

import { byId, element } from "./dom.js";
import { t } from "./i18n.js";

/** Keys of the classes, in their order; the letters left out do something else. */
const KEYS = [..."123456789abcdefghijklmoqrtvwxy"];
export const UNSURE = "unsure";

const STORED = "relance-review-keys";
const list = byId("review-labels");
const other = byId("review-other");

let classes = [];
let pressed = null;

/** Whether single keys label; whoever types by voice or hits keys by chance can turn them off. */
const enabled = () => byId("review-keys").checked;

function button(name, at) {
  const key = KEYS[at];
  const made = element("button", { type: "button", value: name }, element("kbd", { textContent: key }), " ", name);
  made.className = "label";
  made.setAttribute("aria-keyshortcuts", key);
  return made;
}

function mark() {
  for (const one of document.querySelectorAll("#review-labels button, #review-unsure")) {
    one.setAttribute("aria-pressed", String(one.value === pressed));
  }
}

/** Offers these classes; more than there are keys for are typed or chosen from a list. */
export function offer(names, current) {
  pressed = current;
  if (names.join("\n") !== classes.join("\n")) {
    classes = names;
    const few = names.length <= KEYS.length;
    list.replaceChildren(...(few ? names.map(button) : []));
    other.hidden = few;
    byId("review-classes").replaceChildren(...names.map((value) => element("option", { value })));
  }
  mark();
}

/** What a key means: a label, or one of the actions. */
function meaning(key, actions) {
  if (key === "u") return () => actions.label(UNSURE);
  const action = { s: actions.skip, z: actions.back, Backspace: actions.back, n: actions.note, p: actions.reveal }[key];
  if (action) return action;
  const at = KEYS.indexOf(key);
  return at >= 0 && at < Math.min(classes.length, KEYS.length) && !list.matches(":empty")
    ? () => actions.label(classes[at])
    : undefined;
}

/**
 * @param {{ label: (name: string) => void, skip: () => void, back: () => void, note: () => void,
 *           reveal: () => void, listens: () => boolean }} actions
 */
export function start(actions) {
  list.addEventListener("click", ({ target }) => {
    const chosen = target.closest("button");
    if (chosen) actions.label(chosen.value);
  });
  byId("review-unsure").addEventListener("click", () => actions.label(UNSURE));
  byId("review-skip").addEventListener("click", actions.skip);
  byId("review-back").addEventListener("click", actions.back);
  other.addEventListener("submit", (event) => {
    event.preventDefault();
    const field = other.elements.namedItem("class");
    const known = classes.includes(field.value);
    field.setCustomValidity(known ? "" : t("The model has no such class."));
    if (!field.reportValidity()) return;
    actions.label(field.value);
    field.value = "";
  });
  other.addEventListener("input", ({ target }) => target.setCustomValidity(""));

  byId("review-keys").checked = localStorage.getItem(STORED) !== "off";
  byId("review-keys").addEventListener("change", () => localStorage.setItem(STORED, enabled() ? "on" : "off"));
  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    const typing = target.matches("input:not([type=checkbox]), select, textarea");
    if (!actions.listens() || !enabled() || typing || event.repeat) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = meaning(key.length === 1 ? key.toLowerCase() : key, actions);
    if (!act) return;
    event.preventDefault();
    act();
  });
}
