/** Small copies of pictures, made in the browser. */

import { call } from "./api.js";
import { inLanes, patiently } from "./patience.js";

/** Pictures fetched at once; they are full size. */
const LANES = 2;
/** Small copies kept, of some 150 KB each. */
const KEPT = 150;

const kept = new Map();

/**
 * A canvas with the picture, its longer side at most `side` CSS pixels; undefined if this browser
 * cannot show the format, which is so for TIFF in most.
 */
export async function shrink(blob, side) {
  let picture;
  try {
    picture = await createImageBitmap(blob);
  } catch {
    return undefined;
  }
  const pixels = side * Math.min(devicePixelRatio, 2);
  const scale = Math.min(1, pixels / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return canvas;
}

const failed = (id) => ({ id, canvas: undefined });

async function small(id, side, signal) {
  if (kept.has(id)) return kept.get(id);
  const picture = await patiently(() => call(`requests/${id}/image`, { signal }), { signal });
  const made = { id, canvas: await shrink(await picture.blob(), side) };
  kept.set(id, made);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  return made;
}

/**
 * Small copies of the pictures of some requests, each shown as soon as it is there. Those in sight
 * come first as the ids are in the order of the list.
 */
export function showSmall(ids, side, signal, show) {
  return inLanes(LANES, ids, async (id) => {
    if (signal.aborted) return;
    // A picture that is gone leaves its frame empty.
    const made = await small(id, side, signal).catch(() => failed(id));
    if (!signal.aborted) show(made.id, made.canvas);
  });
}
