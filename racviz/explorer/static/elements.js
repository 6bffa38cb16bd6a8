// Elements of the page. A text of a model becomes a text node or an attribute, never markup.

/** An element; `text` is its text, `on<event>` a listener, everything else an attribute. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "text") element.textContent = value;
    else if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}]/u;

/** A token with signs for control characters, marks of direction and spaces; as text only. */
export function visible(token) {
  let out = "";
  for (const char of token) {
    if (char === "\n") out += "⏎";
    else if (char === " ") out += "\u00a0";
    else if (UNSEEN.test(char)) out += "\\u" + char.codePointAt(0).toString(16).padStart(4, "0");
    else out += char;
  }
  return out || "∅";
}

export const shorten = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
