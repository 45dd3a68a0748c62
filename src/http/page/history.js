/** What happened in the last hour, in bounded memory. */

import { quantile } from "./quantile.js";

/** Seconds that are kept. */
export const KEPT = 3600;
/** Seconds that every sample is kept for; older ones are added up. */
const FINE = 300;
/** Seconds that an added-up sample tells of. */
const COARSE = 10;
/** Points of a chart, at most. */
const POINTS = 200;
/** Seconds without a sample that are shown as a gap. */
const GAP = 5;

const COUNTERS = ["answered", "ok", "client", "server", "refused", "hits", "results"];
/** What is shown at its highest when samples are added up. */
const PEAKS = ["queue", "inFlight"];

/**
 * What one snapshot of `/live` says: what happened in the `seconds` before `time`, and how things
 * were then.
 */
export function read(snapshot) {
  const { requests, cache, latency, confidence } = snapshot;
  return {
    time: snapshot.time,
    seconds: snapshot.seconds,
    answered: snapshot.answers,
    ok: requests["2xx"],
    client: requests["4xx"],
    server: requests["5xx"],
    refused: requests.refused,
    hits: cache.hits,
    results: cache.hits + cache.misses,
    latency: { bounds: latency.bounds, counts: latency.counts },
    confidence,
    classes: new Map(Object.entries(snapshot.classes)),
    queue: snapshot.queue.length,
    inFlight: snapshot.in_flight,
    now: snapshot,
  };
}

const addCounts = (a, b) => ({
  bounds: b.bounds.length > 0 ? b.bounds : a.bounds,
  counts: Array.from({ length: Math.max(a.counts.length, b.counts.length) }, (_, i) => (a.counts[i] ?? 0) + (b.counts[i] ?? 0)),
});

/** Two samples as one; `b` is the later one. */
function add(a, b) {
  const classes = new Map(a.classes);
  for (const [name, count] of b.classes) classes.set(name, (classes.get(name) ?? 0) + count);
  const sum = {
    ...b,
    seconds: a.seconds + b.seconds,
    latency: addCounts(a.latency, b.latency),
    confidence: addCounts(a.confidence, b.confidence),
    classes,
  };
  for (const name of COUNTERS) sum[name] = a[name] + b[name];
  for (const name of PEAKS) sum[name] = Math.max(a[name], b[name]);
  return sum;
}

const NOTHING = {
  seconds: 0,
  latency: { bounds: [], counts: [] },
  confidence: { bounds: [], counts: [] },
  classes: new Map(),
  ...Object.fromEntries([...COUNTERS, ...PEAKS].map((name) => [name, 0])),
};

const follows = (sample, previous) => sample.time - sample.seconds - previous.time < GAP;

/** Samples of one instance. */
export class History {
  /** Each up to `COARSE` seconds, of the time before `fine`. */
  coarse = [];
  fine = [];

  /** Takes a sample in; one that is known is left out. */
  add(sample) {
    if (this.latest && sample.time <= this.latest.time) return;
    this.fine.push(sample);
    while (sample.time - this.fine[0].time > FINE) this.age(this.fine.shift());
    while (this.coarse.length > 0 && sample.time - this.coarse[0].time > KEPT) this.coarse.shift();
  }

  age(sample) {
    const last = this.coarse.at(-1);
    const fits = last && follows(sample, last) && last.seconds + sample.seconds <= COARSE;
    if (fits) this.coarse.push(add(this.coarse.pop(), sample));
    else this.coarse.push(sample);
  }

  get samples() {
    return [...this.coarse, ...this.fine];
  }

  get latest() {
    return this.fine.at(-1);
  }

  /** The samples of the last so many seconds. */
  within(seconds) {
    const begin = (this.latest?.time ?? 0) - seconds;
    return this.samples.filter(({ time }) => time > begin);
  }

  /** What happened in the last so many seconds. */
  growth(seconds) {
    return this.within(seconds).reduce(add, NOTHING);
  }

  /** Rates, quantiles and levels for charts; each a list beside `times`, with null where nothing is known. */
  series(seconds) {
    const step = seconds / POINTS;
    const lines = { times: [], ok: [], client: [], server: [], p50: [], p95: [], p99: [], hits: [], queue: [], inFlight: [] };
    const point = (time, values) => {
      for (const [name, line] of Object.entries(lines)) line.push(name === "times" ? time : (values[name] ?? null));
    };
    let run = null;
    let previous = null;
    for (const sample of this.within(seconds)) {
      if (previous && !follows(sample, previous)) {
        point((sample.time - sample.seconds + previous.time) / 2, {});
        run = null;
      }
      previous = sample;
      run = run ? add(run, sample) : sample;
      // Seconds vary a little.
      if (run.seconds === 0 || run.seconds < step * 0.95) continue;
      point(run.time, valuesOf(run));
      run = null;
    }
    return lines;
  }
}

function valuesOf(run) {
  const { seconds, latency, results } = run;
  const known = latency.counts.some(Boolean);
  const quantileOf = (q) => (known ? quantile(q, latency) : null);
  return {
    ok: run.ok / seconds,
    client: run.client / seconds,
    server: run.server / seconds,
    p50: quantileOf(0.5),
    p95: quantileOf(0.95),
    p99: quantileOf(0.99),
    hits: results > 0 ? run.hits / results : null,
    queue: run.queue,
    inFlight: run.inFlight,
  };
}
