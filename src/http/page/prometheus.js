/** Reads Prometheus' text format, and computes what a monitoring system would. */

/** @typedef {{ labels: Record<string, string>, value: number }} Sample */

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?$/;
const LABEL = /\s*([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?/y;
const ESCAPES = { n: "\n", "\\": "\\", '"': '"' };

function labelsOf(text) {
  const labels = {};
  LABEL.lastIndex = 0;
  for (let found; (found = LABEL.exec(text)); ) {
    labels[found[1]] = found[2].replace(/\\(.)/g, (whole, escaped) => ESCAPES[escaped] ?? whole);
  }
  return labels;
}

function numberOf(text) {
  if (/^[+-]?inf$/i.test(text)) return text.startsWith("-") ? -Infinity : Infinity;
  return Number(text);
}

const isNumber = (text) => !Number.isNaN(numberOf(text)) || text.toLowerCase() === "nan";

/**
 * Samples by metric name; lines that are none are left out.
 * @returns {Map<string, Sample[]>}
 */
export function parse(text) {
  const metrics = new Map();
  for (const line of text.split("\n")) {
    const found = line.startsWith("#") ? null : LINE.exec(line.trim());
    if (!found || !isNumber(found[3])) continue;
    const [, name, labels = "", value] = found;
    if (!metrics.has(name)) metrics.set(name, []);
    metrics.get(name).push({ labels: labelsOf(labels), value: numberOf(value) });
  }
  return metrics;
}

/** Sum of the samples whose labels pass; 0 if there are none. */
export function sum(metrics, name, where = () => true) {
  const samples = metrics.get(name) ?? [];
  return samples.reduce((total, { labels, value }) => (where(labels) ? total + value : total), 0);
}

/** Sums by the value of one label; what is 0 is left out. */
export function sumBy(metrics, name, label) {
  const sums = new Map();
  for (const { labels, value } of metrics.get(name) ?? []) {
    if (value !== 0) sums.set(labels[label], (sums.get(labels[label]) ?? 0) + value);
  }
  return sums;
}

/**
 * A histogram, added up over the series whose labels pass. `counts` has one number for each bucket
 * (not cumulative), the last one for what is above all bounds.
 * @returns {{ bounds: number[], counts: number[] }}
 */
export function histogram(metrics, name, where = () => true) {
  const cumulative = new Map();
  for (const { labels, value } of metrics.get(`${name}_bucket`) ?? []) {
    if (!where(labels)) continue;
    const bound = numberOf(labels.le);
    cumulative.set(bound, (cumulative.get(bound) ?? 0) + value);
  }
  const bounds = [...cumulative.keys()].sort((a, b) => a - b);
  const counts = bounds.map((bound, i) => cumulative.get(bound) - (i > 0 ? cumulative.get(bounds[i - 1]) : 0));
  return { bounds: bounds.slice(0, -1), counts };
}

/**
 * The value below which the share `q` of the observations lies, interpolated within its bucket as
 * Prometheus' histogram_quantile does; NaN if there are no observations.
 */
export function quantile(q, { bounds, counts }) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (!(total > 0)) return NaN;
  const rank = q * total;
  let below = 0;
  for (const [i, bound] of bounds.entries()) {
    if (counts[i] > 0 && below + counts[i] >= rank) {
      const lower = i > 0 ? bounds[i - 1] : 0;
      return lower + ((bound - lower) * (rank - below)) / counts[i];
    }
    below += counts[i];
  }
  // Above the last bound nothing is known but that.
  return bounds.at(-1);
}
