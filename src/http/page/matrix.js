/** Tables that tell how often two sides said what. */

import { byId, element } from "./dom.js";
import { write } from "./i18n.js";

const head = (textContent, scope) => element("th", { textContent, scope });

/**
 * Fills the table in the element `id`, or says that there is nothing for it.
 * @param {string} id also the beginning of the identifiers of its parts
 * @param {string} corner what rows and columns are
 * @param {string[]} labels of rows and columns alike
 * @param {number[][]} counts by row and column
 */
export function fillMatrix(id, corner, labels, counts) {
  const highest = Math.max(1, ...counts.flat());
  const rows = labels.map((label, i) => {
    const cells = counts[i].map((count, j) => {
      const className = i === j ? "right" : "wrong";
      const cell = element("td", { textContent: write("count", count), className });
      cell.style.setProperty("--share", count / highest);
      return cell;
    });
    return element("tr", {}, head(label, "row"), ...cells);
  });
  const columns = labels.map((label) => head(label, "col"));
  byId(`${id}-head`).replaceChildren(element("tr", {}, head(corner, "col"), ...columns));
  byId(`${id}-body`).replaceChildren(...rows);
  byId(id).hidden = labels.length === 0;
  byId(`${id}-none`).hidden = labels.length > 0;
}
