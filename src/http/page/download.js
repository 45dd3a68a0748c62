/** Saving what may be larger than memory. */

import { call, signedIn } from "./api.js";
import { save } from "./dom.js";
import { patiently } from "./patience.js";

/**
 * Saves what the API gives at `path`: as a plain link does where no credentials are needed, else
 * straight to a file that is chosen, or through memory in browsers that cannot do that.
 * @returns {Promise<boolean>} whether it was saved; the browser tells of a plain link itself
 */
export async function download(path, name) {
  if (!signedIn()) {
    Object.assign(document.createElement("a"), { href: path, download: name }).click();
    return true;
  }
  // Asked for first: a browser shows the dialog only in answer to a click.
  const file = await chosenFile(name);
  if (file === null) return false;
  const answer = await patiently(() => call(path));
  if (file) await answer.body.pipeTo(await file.createWritable());
  else save(await answer.blob(), name);
  return true;
}

/** A file to write to; null if none was wanted, undefined if the browser cannot ask. */
async function chosenFile(name) {
  if (!window.showSaveFilePicker) return undefined;
  try {
    return await window.showSaveFilePicker({ suggestedName: name });
  } catch (error) {
    if (error.name === "AbortError") return null;
    return undefined;
  }
}
