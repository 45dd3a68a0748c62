/** How often models were right, by the requests that they answered and people have reviewed. */

import { getJson } from "./api.js";
import { t, write } from "./i18n.js";
import { inLanes } from "./patience.js";

/** Models that are asked about; each is counted anew. */
const MOST = 20;

/** Summaries of the reviews by model. */
const summaries = new Map();

/** Asks the service about these models, as `name@version`; what is not answered is left out. */
export async function load(models) {
  await inLanes(2, models.slice(0, MOST), async (model) => {
    const summary = await getJson(`review/summary?model=${encodeURIComponent(model)}`).catch(() => null);
    if (summary) summaries.set(model, summary);
  });
}

/** The accuracy of a model in words; empty if nobody has reviewed its answers. */
export function text(model) {
  const { accuracy, reviewed, unsure } = summaries.get(model) ?? {};
  if (typeof accuracy !== "number") return "";
  const judged = t("of {count} that somebody was sure of", { count: write("count", reviewed - unsure) });
  return `${write("percent", accuracy)} · ${judged}`;
}
