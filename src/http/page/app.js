/** Starts the page and moves between its views: #/classify, #/requests, #/review, #/models, #/live. */

import { call, getJson, session, signedIn } from "./api.js";
import * as classify from "./classify.js";
import * as detail from "./detail.js";
import { byId } from "./dom.js";
import * as i18n from "./i18n.js";
import * as models from "./models.js";
import * as requests from "./requests.js";
import * as review from "./review.js";
import * as signIn from "./sign-in.js";

const NAMES = { classify: "Classify", requests: "Requests", review: "Review", models: "Models", live: "Live" };

// The charts are fetched when they are first looked at.
const views = {
  classify,
  requests,
  review,
  models,
  live: { open: (...route) => live("open", ...route), close: () => live("close") },
};
const live = async (action, ...route) => (await import("./live.js"))[action](...route);

/** @type {string | undefined} */
let current;

/** `#/requests/ID?limit=20` as view, rest of the path and parameters. */
function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [view, ...rest] = path.split("/");
  return { view: view in views ? view : "classify", rest: rest.join("/"), query: new URLSearchParams(query) };
}

function show() {
  const { view, rest, query } = parse(location.hash);
  const moved = view !== current;
  if (moved && current) views[current].close?.();
  for (const name of Object.keys(views)) {
    byId(name).hidden = name !== view;
    const link = document.querySelector(`nav a[href="#/${name}"]`);
    if (name === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  setTitle(view);
  // Whoever moved by keyboard goes on in the new view; not when the page opens.
  if (moved && current && !document.activeElement?.closest(`#${view}`)) byId(`${view}-title`).focus();
  if (moved) scrollTo(0, 0);
  current = view;
  views[view].open({ rest, query });
}

function setTitle(view) {
  document.title = `${i18n.t(NAMES[view])} · relance`;
}

async function showModel() {
  const { models } = await getJson("models");
  const model = models.find(({ active }) => active);
  const { width, height } = model.input;
  byId("model").textContent = [
    `${i18n.t("Model")} ${model.name}@${model.version}`,
    `${i18n.write("count", model.classes.length)} ${i18n.t("classes")}`,
    `${width} × ${height}`,
  ].join(" · ");
}

function showAll() {
  show();
  // Whatever is wrong, the view says it.
  showModel().catch(() => (byId("model").textContent = ""));
}

// A plain link cannot send the headers with the credentials.
async function showMetrics(event) {
  if (!signedIn()) return;
  event.preventDefault();
  const metrics = await (await call("metrics")).text();
  location.assign(URL.createObjectURL(new Blob([metrics], { type: "text/plain; charset=utf-8" })));
}

// On a port of their own they are not for this page.
async function offerMetrics() {
  const about = await (await fetch("page/about.json")).json();
  byId("metrics").hidden = !about.metrics;
}

i18n.start(byId("language"));
i18n.onLanguage(() => {
  setTitle(current);
  showModel().catch(() => {});
});
signIn.start();
classify.start();
detail.start();
requests.start();
review.start();
models.start({ onActive: () => showModel().catch(() => {}) });
offerMetrics().catch(() => {});
byId("metrics").addEventListener("click", showMetrics);
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId(`${current}-title`).focus();
});
session.addEventListener("signed-in", showAll);
addEventListener("hashchange", show);
showAll();
