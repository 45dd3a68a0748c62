/** The view of what happens now. */

import { Chart, load } from "./charts.js";
import { byId, copyOf, element, say, setText } from "./dom.js";
import { History } from "./history.js";
import { onLanguage, t, write } from "./i18n.js";
import { quantile } from "./prometheus.js";
import { bars } from "./result.js";
import { watch } from "./source.js";

/** Seconds that the current rate is taken over. */
const NOW = 10;
/** Seconds that the charts show at least. */
const LEAST = 60;
/** Classes shown one by one. */
const CLASSES = 8;
/** Instances that are told apart behind one address. */
const INSTANCES = 16;

/** @type {Map<string, { history: History, health: object | null }>} */
const instances = new Map();
let chosen;
let seconds = 300;
let watching;
let charts;
let paused = false;

const CHARTS = {
  "chart-rate": {
    format: "rate",
    lines: [
      { name: "answered", colour: "accent", fill: true },
      { name: "refused", colour: "warning" },
      { name: "failed", colour: "error" },
    ],
    of: (s) => [s.answered, s.refused, s.failed],
  },
  "chart-latency": {
    format: "milliseconds",
    lines: [
      { name: "median", colour: "accent" },
      { name: "95 %", colour: "second" },
      { name: "99 %", colour: "third" },
    ],
    of: (s) => [s.p50, s.p95, s.p99].map((line) => line.map((v) => (v === null ? null : v * 1000))),
  },
  "chart-hits": { format: "wholePercent", top: 1, lines: [{ name: "from the cache", colour: "accent", fill: true }], of: (s) => [s.hits] },
  "chart-queue": {
    format: "rate",
    lines: [
      { name: "waiting", colour: "accent" },
      { name: "in flight", colour: "second" },
    ],
    of: (s) => [s.queue, s.inFlight],
  },
};

function state(kind, text) {
  const line = byId("live-state");
  if (line.dataset.kind !== kind) say(text);
  line.dataset.kind = kind;
  line.textContent = text;
}

// Lines break between the parts and not within.
const unbroken = (...parts) => parts.map((part) => part.replaceAll(" ", "\u00a0")).join(" · ");

function tile(id, value, below = "") {
  setText(byId(id), { ".value": value, ".below": below });
}

function showTiles(latest, grown, now) {
  const time = (q) => (grown.latency.counts.some(Boolean) ? quantile(q, grown.latency) * 1000 : undefined);
  const [half, most, nearlyAll] = [0.5, 0.95, 0.99].map((q) => write("milliseconds", time(q)));
  const answers = write("count", grown.answered);
  tile("tile-rate", write("rate", now.seconds > 0 ? now.answered / now.seconds : undefined), t("{count} in this time", { count: answers }));
  tile("tile-latency", half, unbroken(`95 % ${most}`, `99 % ${nearlyAll}`));
  tile("tile-hits", write("percent", grown.results > 0 ? grown.hits / grown.results : undefined), t("{count} kept", { count: write("count", latest.cached) }));
  tile("tile-refused", write("count", grown.refused + grown.failed), unbroken(t("{count} refused", { count: write("count", grown.refused) }), t("{count} failed", { count: write("count", grown.failed) })));
  tile("tile-queue", write("count", latest.queue), unbroken(t("{count} in flight", { count: write("count", latest.inFlight) }), t("workers: {count}", { count: write("count", latest.workers) })));
  tile("tile-backlog", write("count", latest.backlog), latest.backlog > 0 ? t("oldest {age}", { age: write("seconds", latest.backlogAge) }) : t("nothing waits for a shared store"));
}

function showClasses(grown) {
  const all = [...grown.classes].sort(([, a], [, b]) => b - a);
  const shown = all.slice(0, CLASSES).map(([name, count]) => ({ name, count }));
  const rest = all.slice(CLASSES).reduce((sum, [, count]) => sum + count, 0);
  if (rest > 0) shown.push({ name: t("all others"), count: rest });
  const total = all.reduce((sum, [, count]) => sum + count, 0);
  const rows = shown.map(({ name, count }) => ({
    name,
    share: count / total,
    note: `${write("percent", count / total)} · ${write("count", count)}`,
  }));
  byId("class-shares").replaceChildren(...bars(rows));
  byId("class-none").hidden = total > 0;
}

function showConfidence({ bounds, counts }) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const highest = Math.max(...counts, 1);
  const columns = bounds.map((bound, i) => {
    const column = copyOf("column-template");
    const from = i > 0 ? bounds[i - 1] : 0;
    column.style.setProperty("--share", counts[i] / highest);
    setText(column, {
      ".from": write("rate", from * 100),
      ".unseen": t("{from} to {to}: {count}", { from: write("wholePercent", from), to: write("wholePercent", bound), count: write("count", counts[i]) }),
    });
    column.title = column.querySelector(".unseen").textContent;
    return column;
  });
  byId("confidence").replaceChildren(...columns);
  byId("confidence-none").hidden = total > 0;
}

function showParts(health, latest) {
  const parts = [
    [t("This instance"), health ? t(health.status) : t("unknown"), health?.status === "ready"],
    [t("Storage"), health?.storage ?? (latest.storageUp ? "ok" : t("not available")), latest.storageUp],
    ...Object.entries(health?.dependencies ?? {}).map(([name, is]) => [name, is === "unknown" ? t("unknown") : is, is === "ok" ? true : is === "unknown" ? undefined : false]),
  ];
  byId("parts").replaceChildren(
    ...parts.map(([name, text, good]) => {
      const value = element("dd", { textContent: text });
      value.dataset.good = good === undefined ? "unknown" : good;
      return element("div", {}, element("dt", { textContent: name }), value);
    }),
  );
  byId("version").textContent = health ? `relance ${health.version} · ${health.model}` : "";
}

function showInstances() {
  const select = byId("instance");
  byId("instance-label").hidden = instances.size < 2;
  if (select.options.length === instances.size) return;
  select.replaceChildren(...[...instances.keys()].map((name) => element("option", { value: name, textContent: name })));
  select.value = chosen;
}

function show() {
  const { history, health } = instances.get(chosen) ?? {};
  if (!history?.latest) return;
  const { latest } = history;
  const grown = history.growth(seconds);
  showInstances();
  showTiles(latest, grown, history.growth(NOW));
  showClasses(grown);
  showConfidence(grown.confidence);
  showParts(health, latest);
  const series = history.series(seconds);
  // Until there is more to show, what there is fills the charts.
  const begin = Math.max(latest.time - seconds, Math.min(history.samples[0].time, latest.time - LEAST));
  for (const [id, chart] of Object.entries(charts)) {
    chart.update(series.times, CHARTS[id].of(series), [begin, latest.time]);
  }
}

function onSample({ instance, sample, health }) {
  // Behind a load balancer each answer may come from another one.
  if (!instances.has(instance)) {
    if (instances.size === INSTANCES) instances.delete([...instances.keys()].find((name) => name !== chosen));
    instances.set(instance, { history: new History(), health: null });
  }
  instances.get(instance).history.add(sample);
  if (instances.has(health?.instance)) instances.get(health.instance).health = health;
  chosen ??= instance;
  byId("live-body").removeAttribute("aria-busy");
  state("watching", t("Watching {instance}, every 2 seconds", { instance: chosen }));
  show();
}

function onError(error, wait) {
  if (error.name === "AbortError") return;
  state("error", `${error.message} ${t("Trying again in {wait} s.", { wait: Math.round(wait / 1000) })}`);
}

function run() {
  watching?.abort();
  if (paused) return state("paused", t("Paused"));
  watching = new AbortController();
  watch({ onSample, onError }, watching.signal);
}

function build() {
  charts = Object.fromEntries(Object.entries(CHARTS).map(([id, options]) => [id, new Chart(id, options)]));
  const redraw = () => {
    for (const chart of Object.values(charts)) chart.build();
    show();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  onLanguage(() => {
    redraw();
    byId("pause").textContent = t(paused ? "Go on" : "Pause");
    if (!paused) run();
    else state("paused", t("Paused"));
  });
  byId("window").addEventListener("change", (event) => {
    seconds = Number(event.target.value);
    show();
  });
  byId("instance").addEventListener("change", (event) => {
    chosen = event.target.value;
    show();
  });
  byId("pause").addEventListener("click", () => {
    paused = !paused;
    byId("pause").textContent = t(paused ? "Go on" : "Pause");
    run();
  });
}

/** Shows the view and begins to watch. */
export async function open() {
  try {
    await load();
  } catch (error) {
    return state("error", error.message);
  }
  if (!charts) build();
  if (!byId("live").hidden) run();
}

/** Watches no longer; what was seen stays. */
export function close() {
  watching?.abort();
}
