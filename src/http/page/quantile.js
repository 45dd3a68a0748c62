/**
 * The value below which the share `q` of the observations lies, interpolated within its bucket as
 * Prometheus' histogram_quantile does; NaN if there are no observations. `counts` has one number for
 * each bucket (not cumulative), the last one for what is above all bounds.
 * @param {number} q
 * @param {{ bounds: number[], counts: number[] }} histogram
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
