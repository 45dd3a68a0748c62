/** Small helpers around the document. */

export const byId = (id) => document.getElementById(id);

/** A copy of the only element of a template. */
export const copyOf = (template) => byId(template).content.cloneNode(true).firstElementChild;

/** Sets the texts of the elements inside `parent` that the selectors find. One that stays is not read out again. */
export function setText(parent, texts) {
  for (const [selector, text] of Object.entries(texts)) {
    const found = parent.querySelector(selector);
    if (found.textContent !== text) found.textContent = text;
  }
}

/** An element with properties, and children that are elements or texts. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const SPOKEN = 20;

/** Has screen readers say something. */
export function say(text) {
  const log = byId("log");
  log.append(element("p", { textContent: text }));
  while (log.children.length > SPOKEN) log.firstElementChild.remove();
}

/** Offers a file for saving. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  // The browser has taken hold of it by then.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Shows a small picture in its frame, or the frame without one. */
export function frame(holder, picture, note = "") {
  holder.replaceChildren(picture ?? element("span", { className: "no-picture", textContent: note }));
}
