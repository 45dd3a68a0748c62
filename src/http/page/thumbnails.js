/** Small copies of pictures: those that the service makes, and those of files made in the browser. */

import { call } from "./api.js";
import { element } from "./dom.js";
import { patiently } from "./patience.js";

/** Small pictures fetched at once. */
const LANES = 4;
/** How far below the screen they are fetched already. */
const AHEAD = "300px";

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

/** The small picture of a request. A plain `<img>` could not send the credentials. */
async function small(id, signal) {
  // The browser keeps it for as long as it likes: a picture never changes.
  const answer = await patiently(() => call(`requests/${id}/thumbnail`, { signal }), { signal });
  const url = URL.createObjectURL(await answer.blob());
  const image = element("img", { src: url, alt: "", decoding: "async" });
  await image.decode().finally(() => URL.revokeObjectURL(url));
  return image;
}

/**
 * Fetches the small pictures of requests when their elements come into sight.
 * @param {Map<string, Element>} elements by request
 * @param {AbortSignal} signal
 * @param {(id: string, image: HTMLImageElement | undefined) => void} show
 */
export function showSmall(elements, signal, show) {
  const ids = new Map([...elements].map(([id, shown]) => [shown, id]));
  const waiting = [];
  let busy = 0;
  const next = async () => {
    if (busy === LANES || signal.aborted) return;
    const id = waiting.shift();
    if (!id) return;
    busy += 1;
    // A picture that is gone leaves its frame empty.
    const image = await small(id, signal).catch(() => undefined);
    busy -= 1;
    if (!signal.aborted) show(id, image);
    next();
  };
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        observer.unobserve(target);
        waiting.push(ids.get(target));
        next();
      }
    },
    { rootMargin: AHEAD },
  );
  for (const shown of elements.values()) observer.observe(shown);
  signal.addEventListener("abort", () => observer.disconnect());
}
