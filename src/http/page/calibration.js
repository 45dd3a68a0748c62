/** How often the model is right when it is so sure: a curve that a good model has along the diagonal. */

import { colour, load } from "./charts.js";
import { t, write } from "./i18n.js";

const HEIGHT = 260;

let plot;
let observer;

/**
 * @param {HTMLElement} host
 * @param {{ confidence: number, accuracy: number, count: number }[]} bins those with requests in them, rising
 */
export async function drawCalibration(host, bins) {
  await load();
  plot?.destroy();
  observer?.disconnect();
  const axis = {
    stroke: colour("faint"),
    font: "12px system-ui, sans-serif",
    ticks: { show: false },
    grid: { stroke: colour("line"), width: 1 },
    values: (_, splits) => splits.map((value) => write("wholePercent", value)),
    labelSize: 20,
    labelFont: "12px system-ui, sans-serif",
  };
  const whole = { time: false, range: () => [0, 1] };
  plot = new window.uPlot(
    {
      width: host.clientWidth || 300,
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      scales: { x: whole, y: whole },
      padding: [8, 20, 0, 0],
      axes: [
        { ...axis, space: 60, size: 28, label: t("confidence") },
        { ...axis, space: 36, size: 50, label: t("share that is right") },
      ],
      series: [
        {},
        { stroke: colour("third"), dash: [5, 5], width: 1, points: { show: false }, spanGaps: true },
        { stroke: colour("accent"), width: 1.75, spanGaps: true, points: { show: true, size: 8, fill: colour("accent") } },
      ],
    },
    data(bins),
    host,
  );
  host.setAttribute("role", "img");
  const told = bins.map(({ confidence, accuracy }) => `${write("percent", confidence)} → ${write("percent", accuracy)}`);
  host.ariaLabel = `${t("Calibration")}: ${told.join(", ")}`;
  observer = new ResizeObserver(() => {
    const width = host.clientWidth;
    if (width > 0 && width !== plot.width) plot.setSize({ width, height: HEIGHT });
  });
  observer.observe(host);
}

/** The diagonal from corner to corner, and the points of the curve. */
function data(bins) {
  const points = bins.map(({ confidence, accuracy }) => [confidence, accuracy]);
  const all = [[0, null], ...points, [1, null]];
  return [all.map(([x]) => x), all.map(([x]) => x), all.map(([, y]) => y)];
}
