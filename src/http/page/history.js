/** What was measured in the last hour, in bounded memory. */

import { histogram, parse, quantile, sum, sumBy } from "./prometheus.js";

/** Seconds that are kept. */
export const KEPT = 3600;
/** Seconds that every sample is kept for; of older ones some are dropped. */
const FINE = 300;
/** Seconds between older samples. */
const COARSE = 10;
/** Points of a chart, at most. */
const POINTS = 200;
/** Seconds without a sample that are shown as a gap. */
const GAP = 25;

/** Routes that classify one picture, so that their times can be compared. */
const classifies = ({ route = "" }) => route === "/predict" || route.endsWith("/infer");
const sent = ({ method, route = "" }) => method === "POST" && (classifies({ route }) || route === "/predict/batch");

/** What one answer of `/metrics` says; `time` in seconds. */
export function read(text, time) {
  const metrics = parse(text);
  const status = (test) => sum(metrics, "relance_http_requests_total", (l) => sent(l) && test(Number(l.status)));
  const gauge = (name) => sum(metrics, name);
  const refused = (code) => code === 429 || code === 503;
  return {
    time,
    started: gauge("process_start_time_seconds"),
    answered: gauge("relance_predictions_total"),
    refused: status(refused),
    failed: status((code) => code >= 400 && !refused(code)),
    hits: sum(metrics, "relance_results_total", ({ source }) => source !== "model"),
    results: gauge("relance_results_total"),
    latency: histogram(metrics, "relance_http_request_seconds", classifies),
    classes: sumBy(metrics, "relance_predictions_total", "class"),
    confidence: histogram(metrics, "relance_prediction_confidence_ratio"),
    queue: gauge("relance_queue_length"),
    oldest: gauge("relance_queue_oldest_seconds"),
    inFlight: gauge("relance_http_requests_in_flight"),
    backlog: gauge("relance_backlog_records"),
    backlogAge: gauge("relance_backlog_age_seconds"),
    storageUp: gauge("relance_storage_up") > 0,
    workers: gauge("relance_workers"),
    cached: gauge("relance_cache_entries"),
    memory: gauge("process_resident_memory_bytes"),
  };
}

const COUNTERS = ["answered", "refused", "failed", "hits", "results"];

function addCounts(total, before, after) {
  total.bounds = after.bounds;
  for (const [i, count] of after.counts.entries()) {
    total.counts[i] = (total.counts[i] ?? 0) + count - (before?.counts[i] ?? 0);
  }
}

/** How much the counters grew over some samples in a row, across restarts of the program. */
export function growth(samples) {
  const total = {
    seconds: 0,
    classes: new Map(),
    latency: { bounds: [], counts: [] },
    confidence: { bounds: [], counts: [] },
  };
  for (const name of COUNTERS) total[name] = 0;
  for (const [i, after] of samples.entries()) {
    if (i === 0) continue;
    const previous = samples[i - 1];
    total.seconds += after.time - previous.time;
    // A program that started anew counts from 0.
    const before = previous.started === after.started ? previous : undefined;
    for (const name of COUNTERS) total[name] += after[name] - (before?.[name] ?? 0);
    for (const [name, count] of after.classes) {
      const grown = count - (before?.classes.get(name) ?? 0);
      if (grown > 0) total.classes.set(name, (total.classes.get(name) ?? 0) + grown);
    }
    addCounts(total.latency, before?.latency, after.latency);
    addCounts(total.confidence, before?.confidence, after.confidence);
  }
  return total;
}

const LINES = ["answered", "refused", "failed", "p50", "p95", "p99", "hits", "queue", "inFlight"];

/** Samples of one instance. */
export class History {
  samples = [];

  /** Takes a sample in, and drops what is too old or too close together. */
  add(sample) {
    this.samples.push(sample);
    let last = -Infinity;
    this.samples = this.samples.filter(({ time }) => {
      const age = sample.time - time;
      if (age > KEPT) return false;
      const close = age > FINE && time - last < COARSE;
      if (!close) last = time;
      return !close;
    });
  }

  get latest() {
    return this.samples.at(-1);
  }

  /** The samples of the last so many seconds, and the one before them. */
  within(seconds) {
    const begin = (this.latest?.time ?? 0) - seconds;
    const first = this.samples.findIndex(({ time }) => time >= begin);
    return this.samples.slice(Math.max(0, first - 1));
  }

  /** How much the counters grew in the last so many seconds. */
  growth(seconds) {
    return growth(this.within(seconds));
  }

  /**
   * Rates, quantiles and gauges for charts; each a list beside `times`, with null where nothing is known.
   */
  series(seconds) {
    const step = seconds / POINTS;
    const lines = { times: [] };
    for (const name of LINES) lines[name] = [];
    const point = (time, values) => {
      lines.times.push(time);
      for (const name of LINES) lines[name].push(values[name] ?? null);
    };
    let run = [];
    for (const sample of this.within(seconds)) {
      const previous = run.at(-1);
      if (previous && sample.time - previous.time > GAP) {
        point((sample.time + previous.time) / 2, {});
        run = [];
      }
      run.push(sample);
      // The times of samples vary a little.
      if (run.length < 2 || sample.time - run[0].time < step * 0.95) continue;
      const grown = growth(run);
      const quantileOf = (q) => (grown.latency.counts.some(Boolean) ? quantile(q, grown.latency) : null);
      point(sample.time, {
        answered: grown.answered / grown.seconds,
        refused: grown.refused / grown.seconds,
        failed: grown.failed / grown.seconds,
        p50: quantileOf(0.5),
        p95: quantileOf(0.95),
        p99: quantileOf(0.99),
        hits: grown.results > 0 ? grown.hits / grown.results : null,
        queue: Math.max(...run.slice(1).map(({ queue }) => queue)),
        inFlight: Math.max(...run.slice(1).map(({ inFlight }) => inFlight)),
      });
      run = [sample];
    }
    return lines;
  }
}
