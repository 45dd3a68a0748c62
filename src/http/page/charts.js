/** Lines over time, drawn by uPlot. */

import { byId, element } from "./dom.js";
import { t, write } from "./i18n.js";

const HEIGHT = 170;
/** Seconds between labels of the time axis. */
const STEPS = [5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800];

let library;

/** Fetches uPlot and its style, once. */
export function load() {
  library ??= new Promise((resolve, reject) => {
    document.head.append(element("link", { rel: "stylesheet", href: "page/vendor/uplot.css" }));
    const script = element("script", { src: "page/vendor/uplot.js" });
    script.addEventListener("load", resolve);
    script.addEventListener("error", () => {
      library = undefined;
      reject(new Error(t("The charts could not be loaded.")));
    });
    document.head.append(script);
  });
  return library;
}

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/**
 * A chart in a figure, with a legend that tells the values under the cursor, or else the last ones.
 * @typedef {{ name: string, colour: string, fill?: boolean }} Line
 */
export class Chart {
  /**
   * @param {string} id of the figure
   * @param {{ lines: Line[], format: string, top?: number }} options `top`: highest value of the axis
   */
  constructor(id, options) {
    this.figure = byId(id);
    this.options = options;
    this.data = [[], ...options.lines.map(() => [])];
    this.host = this.figure.querySelector(".plot");
    this.host.setAttribute("role", "img");
    this.values = [];
    this.build();
    new ResizeObserver(() => this.resize()).observe(this.host);
  }

  /** Made anew for other colours or another language. */
  build() {
    this.plot?.destroy();
    const { lines, format, top } = this.options;
    const axis = {
      stroke: colour("faint"),
      font: "12px system-ui, sans-serif",
      ticks: { show: false },
      grid: { stroke: colour("line"), width: 1 },
    };
    const labels = (_, splits) => splits.map((value) => write(format, value));
    const times = (_, splits, index, space, step) =>
      splits.map((time) => write(step < 60 ? "clock" : "minute", time * 1000));
    this.plot = new window.uPlot(
      {
        width: this.host.clientWidth || 300,
        height: HEIGHT,
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
        scales: { y: { range: (_, low, high) => [0, top ?? nice(high)] } },
        padding: [8, 26, 0, 0],
        axes: [
          { ...axis, grid: { show: false }, size: 26, gap: 6, space: 72, incrs: STEPS, values: times },
          { ...axis, size: 54, space: 30, values: labels },
        ],
        series: [
          {},
          ...lines.map((line) => ({
            stroke: colour(line.colour),
            fill: line.fill ? `color-mix(in srgb, ${colour(line.colour)} 14%, transparent)` : undefined,
            width: 1.75,
            points: { show: false },
          })),
        ],
        hooks: { setCursor: [() => this.showValues()] },
      },
      this.data,
      this.host,
    );
    this.values = lines.map(() => element("output"));
    const entries = lines.map((line, i) => {
      const mark = element("span", { className: "mark", ariaHidden: "true" });
      mark.style.background = `var(--${line.colour})`;
      return element("li", {}, mark, t(line.name), " ", this.values[i]);
    });
    this.figure.querySelector(".legend").replaceChildren(...entries);
    this.showValues();
  }

  resize() {
    const width = this.host.clientWidth;
    if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }

  /** @param {number[]} times seconds @param {(number | null)[][]} lines @param {[number, number]} range seconds */
  update(times, lines, [from, to]) {
    this.data = [times, ...lines];
    this.plot.setData(this.data, false);
    // Also redraws.
    this.plot.setScale("x", { min: from, max: to });
    this.showValues();
  }

  showValues() {
    const [times, ...lines] = this.data;
    const at = this.plot.cursor?.idx ?? times.length - 1;
    const told = lines.map((line) => write(this.options.format, line[at]));
    told.forEach((value, i) => (this.values[i].textContent = value));
    const summary = told.map((value, i) => `${t(this.options.lines[i].name)} ${value}`).join(", ");
    this.host.ariaLabel = `${this.figure.querySelector("h3").textContent}: ${summary}`;
  }
}

/** The next round number, so that the axis seldom changes. */
export function nice(high) {
  if (!(high > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(high));
  return [1, 2, 4, 6, 8, 10].find((step) => step * power >= high) * power;
}
