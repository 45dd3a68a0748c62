/** The view of what happens now. */

import { Chart, load } from "./charts.js";
import { byId, copyOf, element, say, setText } from "./dom.js";
import { History, read } from "./history.js";
import { onLanguage, t, unbroken, write } from "./i18n.js";
import { quantile } from "./quantile.js";
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

/** @type {Map<string, History>} */
const instances = new Map();
/** The instance that the stream comes from. */
let connected;
let chosen;
let seconds = 300;
let watching;
let charts;
let paused = false;

const CHARTS = {
  "chart-rate": {
    format: "rate",
    lines: [
      { name: "answered (2xx)", colour: "accent", fill: true },
      { name: "4xx", colour: "warning" },
      { name: "5xx", colour: "error" },
    ],
    of: (s) => [s.ok, s.client, s.server],
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
  // What is shown is old.
  byId("live-body").classList.toggle("stale", kind === "error");
}

function tile(id, value, below = "") {
  setText(byId(id), { ".value": value, ".below": below });
}

function showTiles(now, grown, recent) {
  const count = (value) => write("count", value);
  const known = grown.latency.counts.some(Boolean);
  const time = (q) => write("milliseconds", known ? quantile(q, grown.latency) * 1000 : undefined);
  const rate = recent.seconds > 0 ? recent.answered / recent.seconds : undefined;
  const hits = grown.results > 0 ? grown.hits / grown.results : undefined;
  const { backlog, cache, queue } = now;
  const age = t("oldest {age}", { age: write("seconds", backlog.age_seconds) });
  const failures = grown.client + grown.server;

  tile("tile-rate", write("rate", rate), t("{count} in this time", { count: count(grown.answered) }));
  tile("tile-latency", time(0.5), unbroken(`95 % ${time(0.95)}`, `99 % ${time(0.99)}`));
  tile("tile-hits", write("percent", hits), t("{count} kept", { count: count(cache.entries) }));
  const refused = t("{count} refused", { count: count(grown.refused) });
  const failed = t("{count} failed", { count: count(failures - grown.refused) });
  tile("tile-refused", count(failures), unbroken(refused, failed));
  const inFlight = t("{count} in flight", { count: count(now.in_flight) });
  tile("tile-queue", count(queue.length), inFlight);
  const megabytes = (bytes) => write("megabytes", bytes / 1e6);
  const waiting = unbroken(age, megabytes(backlog.bytes));
  tile("tile-backlog", count(backlog.records), backlog.records > 0 ? waiting : t("nothing waits for a shared store"));
  tile("tile-cpu", write("rate", now.cpu), t("workers: {count}", { count: count(now.workers) }));
  tile("tile-memory", megabytes(now.memory_bytes), t("resident"));
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

function showParts(now) {
  const store = ([name, is]) => (is === "unknown" ? [name, t(is), undefined] : [name, is, is === "ok"]);
  const parts = [
    [t("This instance"), t(now.status), now.status === "ready"],
    [t("Storage"), now.storage, now.storage === "ok"],
    ...Object.entries(now.dependencies).map(store),
  ];
  byId("parts").replaceChildren(
    ...parts.map(([name, text, good]) => {
      const value = element("dd", { textContent: text });
      value.dataset.good = good === undefined ? "unknown" : good;
      return element("div", {}, element("dt", { textContent: name }), value);
    }),
  );
  byId("version").textContent = [`relance ${now.version}`, now.release, now.model].filter(Boolean).join(" · ");
}

function showInstances() {
  const select = byId("instance");
  byId("instance-label").hidden = instances.size < 2;
  if (select.options.length === instances.size) return;
  select.replaceChildren(...[...instances.keys()].map((name) => element("option", { value: name, textContent: name })));
  select.value = chosen;
}

function show() {
  const history = instances.get(chosen);
  if (!history?.latest) return;
  const { latest } = history;
  const grown = history.growth(seconds);
  showInstances();
  showTiles(latest.now, grown, history.growth(NOW));
  showClasses(grown);
  showConfidence(grown.confidence);
  showParts(latest.now);
  const series = history.series(seconds);
  // Until there is more to show, what there is fills the charts.
  const begin = Math.max(latest.time - seconds, Math.min(history.samples[0].time, latest.time - LEAST));
  for (const [id, chart] of Object.entries(charts)) {
    chart.update(series.times, CHARTS[id].of(series), [begin, latest.time]);
  }
}

function onSnapshots(snapshots) {
  for (const snapshot of snapshots) {
    const { instance } = snapshot;
    if (!instances.has(instance)) {
      if (instances.size === INSTANCES) instances.delete([...instances.keys()].find((name) => name !== chosen));
      instances.set(instance, new History());
    }
    instances.get(instance).add(read(snapshot));
  }
  // Behind a load balancer each connection may lead to another one.
  const { instance } = snapshots.at(-1);
  if (instance !== connected) chosen = connected = instance;
  byId("live-body").removeAttribute("aria-busy");
  state("watching", t("Watching {instance}, every second", { instance }));
  show();
  byId("instance").value = chosen;
}

function onError(error, wait) {
  if (error.name === "AbortError") return;
  state("error", `${error.message} ${t("Trying again in {wait} s.", { wait: Math.max(1, Math.round(wait / 1000)) })}`);
}

function run() {
  watching?.abort();
  if (paused) return state("paused", t("Paused"));
  watching = new AbortController();
  watch({ onSnapshots, onError }, watching.signal);
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
