/** The view of the models: which there are, which one answers, and how the one that is tried out does. */

import * as accuracy from "./accuracy.js";
import { call, getJson } from "./api.js";
import * as change from "./change.js";
import * as detail from "./detail.js";
import { byId, copyOf, setText } from "./dom.js";
import { onLanguage, t, write } from "./i18n.js";
import { reference } from "./result.js";
import * as trial from "./trial.js";

/** Milliseconds until it looks again. */
const EVERY = 3000;
/** Classes that are named. */
const NAMED = 6;
/** Digits of a SHA-256 that tell files apart. */
const SHORT = 12;
/** How a trial begins if nothing else is chosen. */
const USUAL = { role: "shadow", share: 0.1 };

const STATES = {
  active: () => t("active"),
  canary: () => t("canary"),
  shadow: () => t("shadow"),
  loaded: () => t("loaded"),
  available: () => t("available"),
};

const list = byId("models-list");

/** What `GET /models` gave last. */
let there = null;
/** What `GET /candidate` gave last; null if no model is tried out. */
let report = null;
let loading = new AbortController();
let timer;
let isOpen = false;
let onActive = () => {};

const active = () => reference(there.models.find((model) => model.active));

function classes(names) {
  if (!names) return "–";
  const all = names.length > NAMED;
  const few = (all ? names.slice(0, NAMED - 1) : names).join(", ");
  return all ? t("{names} … ({count} in all)", { names: few, count: write("count", names.length) }) : few;
}

function agreement(told) {
  const { ratio, agreed, compared } = told ?? {};
  if (typeof ratio !== "number") return "";
  const values = { agreed: write("count", agreed), compared: write("count", compared) };
  return `${write("percent", ratio)} · ${t("{agreed} of {compared} pictures", values)}`;
}

function fill(item, model) {
  const { input, sha256 } = model;
  const facts = {
    classes: classes(model.classes),
    input: input ? [`${input.width} × ${input.height}`, model.precision, model.provider].join(" · ") : "",
    latency: model.latency ? trial.duration(model.latency) : "",
    agreement: agreement(model.agreement),
    accuracy: accuracy.text(reference(model)),
  };
  setText(item, {
    ".name": reference(model),
    ".badge": STATES[model.state](),
    ".description": model.description ?? "",
    code: item.dataset.whole ? sha256 : (sha256 ?? "").slice(0, SHORT),
  });
  for (const [fact, text] of Object.entries(facts)) {
    const line = item.querySelector(`.${fact}`);
    line.hidden = !text;
    setText(line, { dd: text });
  }
  item.dataset.state = model.state;
  item.querySelector(".digest").hidden = !sha256;
  const digest = item.querySelector(".digest button");
  digest.title = sha256;
  for (const button of item.querySelectorAll(".buttons button")) {
    button.ariaLabel = `${button.textContent} ${reference(model)}`;
    button.parentElement.hidden = model.active || !there.changeable;
  }
}

/** Shows the items in this order; those that stay where they are keep the focus. */
function arrange(items) {
  const before = [...list.children];
  if (items.length === before.length && items.every((item, i) => item === before[i])) return;
  const focused = document.activeElement;
  list.replaceChildren(...items);
  if (list.contains(focused)) focused.focus({ preventScroll: true });
}

function show() {
  const items = new Map([...list.children].map((item) => [item.dataset.model, item]));
  const wanted = there.models.map((model) => {
    const item = items.get(reference(model)) ?? copyOf("model-template");
    item.dataset.model = reference(model);
    fill(item, model);
    return item;
  });
  arrange(wanted);
  list.removeAttribute("aria-busy");
  byId("models-fixed").hidden = there.changeable;
  byId("models-there").classList.toggle("unseen", !report);
  setText(byId("models"), { "#models-fault": there.fault ?? "" });
  trial.show(report);
}

async function load(signal) {
  const { models, ...rest } = await getJson("models", { signal });
  const tried = models.some(({ state }) => ["canary", "shadow"].includes(state));
  const found = tried ? await getJson("candidate", { signal }).catch(ended) : null;
  there = { models, ...rest };
  report = found;
}

/** Somebody may have ended the trial since. */
function ended(error) {
  if (error.status === 404) return null;
  throw error;
}

/** Shows how it is now, and goes on doing so while the view is open and to be seen. */
async function refresh() {
  clearTimeout(timer);
  loading.abort();
  const { signal } = (loading = new AbortController());
  const before = there && active();
  let problem = "";
  try {
    await load(signal);
    show();
    if (before && before !== active()) onActive();
  } catch (error) {
    if (signal.aborted) return;
    problem = error.message;
    // Whoever signs in comes here again.
    if (error.status === 401) isOpen = false;
  }
  setText(byId("models"), { "#models-error": problem });
  if (isOpen && !document.hidden) timer = setTimeout(refresh, EVERY);
}

const put = (path, body) =>
  call(path, { method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

function activate(wanted) {
  const at = wanted.lastIndexOf("@");
  const values = { model: wanted, active: active() };
  change.ask({
    title: () => t("Have {model} answer?", values),
    what: () =>
      [
        t("It is loaded beside {active}, must answer its sample pictures right, and then takes its place.", values),
        t("No request fails or waits. If anything is wrong with it, all stays as it is."),
      ].join(" "),
    action: () => t("Activate"),
    done: () => t("{model} answers now.", values),
    make: () => put(`models/${encodeURIComponent(wanted.slice(0, at))}`, { version: wanted.slice(at + 1) }),
  });
}

function tryOut(wanted) {
  const values = { model: wanted, active: active(), other: report?.model };
  const again = report?.model === wanted;
  const what = () => {
    if (again) return t("Its figures begin anew. {active} stays the model that answers.", values);
    return report
      ? t("It takes the place of {other}, and the figures begin anew. {active} stays the model that answers.", values)
      : t("It is loaded beside {active}, which stays the model that answers, and is compared with it.", values);
  };
  change.ask({
    title: () => t("Try {model} out?", values),
    what,
    action: () => t("Try out"),
    done: () => t("{model} is being tried out.", values),
    trial: again ? { role: report.role, share: report.share } : USUAL,
    make: ({ role, share }) => put("candidate", { model: wanted, role, share }),
  });
}

function drop() {
  const values = { model: report.model };
  change.ask({
    title: () => t("Try {model} out no more?", values),
    what: () => t("It sees no more pictures, and the figures of this trial are gone."),
    action: () => t("Drop"),
    done: () => t("{model} is tried out no more.", values),
    make: () => call("candidate", { method: "DELETE" }),
  });
}

async function copyDigest(item) {
  const { sha256 } = there.models.find((model) => reference(model) === item.dataset.model);
  try {
    await navigator.clipboard.writeText(sha256);
    setText(byId("models"), { "#models-done": t("Copied: {digest}", { digest: sha256 }) });
  } catch {
    // Where the browser does not let a page do that, it can be marked and copied.
    item.dataset.whole = "yes";
    setText(item, { code: sha256 });
  }
}

function clicked({ target }) {
  const button = target.closest("button");
  if (!button) return;
  const item = button.closest("li");
  if (button.matches(".activate")) activate(item.dataset.model);
  else if (button.matches(".try-out")) tryOut(item.dataset.model);
  else copyDigest(item);
}

async function changed(done) {
  await refresh();
  setText(byId("models"), { "#models-done": done });
}

/** Shows the models, or one request that two of them see differently over them. */
export async function open({ rest }) {
  const again = isOpen;
  isOpen = true;
  if (rest) {
    detail.open(rest, { requests: report?.disagreements ?? [], back: "#/models", onDeleted: refresh });
  } else {
    detail.close();
  }
  await refresh();
  if (again || !there) return;
  await accuracy.load(there.models.map(reference));
  show();
}

export function close() {
  isOpen = false;
  clearTimeout(timer);
  loading.abort();
  detail.close();
  byId("models-done").textContent = "";
}

/** @param {{ onActive: () => void }} options `onActive` is called once another model answers */
export function start(options) {
  ({ onActive } = options);
  change.start(changed);
  list.addEventListener("click", clicked);
  byId("promote").addEventListener("click", () => activate(report.model));
  byId("drop").addEventListener("click", drop);
  document.addEventListener("visibilitychange", () => {
    if (isOpen && !document.hidden) refresh();
  });
  onLanguage(() => {
    if (there) show();
  });
}
