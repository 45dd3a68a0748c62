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
  "chart-hits": {
    format: "wholePercent",
    top: 1,
    lines: [{ name: "from the cache", colour: "accent", fill: true }],
    of: (s) => [s.hits],
  },
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
  const count = (value) => write("count", value);
  const known = grown.latency.counts.some(Boolean);
  const time = (q) => write("milliseconds", known ? quantile(q, grown.latency) * 1000 : undefined);
  const rate = now.seconds > 0 ? now.answered / now.seconds : undefined;
  const hits = grown.results > 0 ? grown.hits / grown.results : undefined;
  const age = t("oldest {age}", { age: write("seconds", latest.backlogAge) });

  tile("tile-rate", write("rate", rate), t("{count} in this time", { count: count(grown.answered) }));
  tile("tile-latency", time(0.5), unbroken(`95 % ${time(0.95)}`, `99 % ${time(0.99)}`));
  tile("tile-hits", write("percent", hits), t("{count} kept", { count: count(latest.cached) }));
  const refused = t("{count} refused", { count: count(grown.refused) });
  const failed = t("{count} failed", { count: count(grown.failed) });
  tile("tile-refused", count(grown.refused + grown.failed), unbroken(refused, failed));
  const inFlight = t("{count} in flight", { count: count(latest.inFlight) });
  tile("tile-queue", count(latest.queue), unbroken(inFlight, t("workers: {count}", { count: count(latest.workers) })));
  tile("tile-backlog", count(latest.backlog), latest.backlog > 0 ? age : t("nothing waits for a shared store"));
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
    const [low, high] = [from, bound].map((ratio) => write("wholePercent", ratio));
    column.title = t("{from} to {to}: {count}", { from: low, to: high, count: write("count", counts[i]) });
    setText(column, { ".from": write("rate", from * 100), ".unseen": column.title });
    return column;
  });
  byId("confidence").replaceChildren(...columns);
  byId("confidence-none").hidden = total > 0;
}

function showParts(health, latest) {
  const store = ([name, is]) => (is === "unknown" ? [name, t(is), undefined] : [name, is, is === "ok"]);
  const parts = [
    [t("This instance"), health ? t(health.status) : t("unknown"), health && health.status === "ready"],
    [t("Storage"), health?.storage ?? (latest.storageUp ? "ok" : t("not available")), latest.storageUp],
    ...Object.entries(health?.dependencies ?? {}).map(store),
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
