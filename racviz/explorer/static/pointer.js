// Mouse and touch: the wheel zooms, dragging pans, a click chooses a token, hovering shows a tip.

import { ratioWords } from "./colours.js";
import { LAYOUT, clamp, fromX, fromY, inHeat, plotWidth } from "./geometry.js";
import { pick, reset, zoom } from "./navigation.js";
import { refresh } from "./picture.js";
import { guarded } from "./state.js";
import { describe } from "./status.js";

function pixelOf({ canvas }, event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

/** The cell of the picture under a pixel, or null. */
function cellAt(explorer, px, py) {
  const { shown } = explorer.state;
  if (!shown || !inHeat(explorer, px, py)) return null;
  const column = Math.floor((fromX(explorer, px) - shown.start) / shown.width);
  const row = Math.floor((fromY(explorer, py) - shown.first) / shown.group);
  const [rows, columns] = shown.shape;
  return column < 0 || row < 0 || column >= columns || row >= rows ? null : { column, row };
}

function cellWords({ state }, { column, row }) {
  const { about, ratio, shown } = state;
  const position = shown.start + column * shown.width - about.origin;
  const place = shown.first + row * shown.group;
  const last = Math.min(about.rows, place + shown.group) - 1;
  const group = shown.group > 1 ? `problems ${place} to ${last}` : `problem ${shown.first + row}`;
  const end = position + shown.width - 1;
  const span = shown.width > 1 ? `positions ${position} to ${end}` : `position ${position}`;
  const origin = about.view.align === "boundary" ? " from the end of the prompt" : "";
  const value = ratioWords(ratio[row * shown.shape[1] + column]);
  return `${shown.problems[row] ?? group}\n${span}${origin}\n${value}`;
}

function hover(explorer, px, py) {
  const { canvas, tip } = explorer;
  const cell = cellAt(explorer, px, py);
  if (!cell) {
    tip.style.display = "none";
    return;
  }
  tip.textContent = cellWords(explorer, cell);
  tip.style.display = "block";
  tip.style.left = `${Math.min(px + 16, canvas.clientWidth - 180)}px`;
  tip.style.top = `${canvas.offsetTop + py + 16}px`;
}

/** Pan by the way from where the drag began. */
function dragTo(explorer, drag, px, py) {
  if (Math.hypot(px - drag.px, py - drag.py) > 4) drag.moved = true;
  if (!drag.moved) return;
  const dx = ((px - drag.px) / plotWidth(explorer)) * (drag.x[1] - drag.x[0]);
  const dy = ((py - drag.py) / LAYOUT.heat) * (drag.y[1] - drag.y[0]);
  explorer.state.x = drag.x.map((edge) => edge - dx);
  explorer.state.y = drag.y.map((edge) => edge - dy);
  clamp(explorer);
  guarded(explorer, refresh)(explorer, performance.now());
}

function click(explorer, px, py) {
  const { rows } = explorer.state.about;
  const place = Math.min(rows - 1, Math.floor(fromY(explorer, py)));
  guarded(explorer, pick)(explorer, place, Math.floor(fromX(explorer, px)));
}

function wheel(explorer, event) {
  event.preventDefault();
  const [px, py] = pixelOf(explorer, event);
  const factor = Math.exp(Math.max(-1, Math.min(1, event.deltaY / 240)));
  const rows = event.shiftKey || event.altKey ? py : null;
  guarded(explorer, zoom)(explorer, factor, px, rows, performance.now());
}

export function listenToPointer(explorer) {
  const { canvas, state, tip } = explorer;
  let drag = null;
  canvas.addEventListener("wheel", (event) => wheel(explorer, event), { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    const [px, py] = pixelOf(explorer, event);
    canvas.focus();
    canvas.setPointerCapture(event.pointerId);
    drag = { px, py, x: [...state.x], y: [...state.y], moved: false };
  });
  canvas.addEventListener("pointermove", (event) => {
    const [px, py] = pixelOf(explorer, event);
    if (drag) dragTo(explorer, drag, px, py);
    else hover(explorer, px, py);
  });
  canvas.addEventListener("pointerup", (event) => {
    const [px, py] = pixelOf(explorer, event);
    const before = drag;
    drag = null;
    if (!before) return;
    if (before.moved) describe(explorer);
    else if (inHeat(explorer, px, py) && state.about.rows) click(explorer, px, py);
  });
  canvas.addEventListener("pointerleave", () => {
    tip.style.display = "none";
  });
  canvas.addEventListener(
    "dblclick",
    guarded(explorer, () => reset(explorer)),
  );
}
