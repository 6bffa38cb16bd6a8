// The keyboard: arrows move the cursor, plus and minus zoom, N and P go through large errors.

import { jump, pick, reset, zoom } from "./navigation.js";
import { guarded } from "./state.js";

/** Rows and columns that an arrow moves the cursor by. */
const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function moveCursor(explorer, [down, right], fast) {
  const { state } = explorer;
  const start = { place: Math.floor(state.y[0]), column: Math.floor(state.x[0]) };
  const { place, column } = state.chosen ?? start;
  const row = Math.min(state.about.rows - 1, Math.max(0, place + down));
  return pick(explorer, row, Math.max(0, column + right * (fast ? 10 : 1)));
}

function pickAgain(explorer) {
  const { chosen } = explorer.state;
  return chosen && pick(explorer, chosen.place, chosen.column);
}

/** The work of a key, or undefined. */
function workOf(explorer, event) {
  const step = ARROWS[event.key];
  if (step && explorer.state.about.rows) return () => moveCursor(explorer, step, event.shiftKey);
  const keys = {
    "+": () => zoom(explorer, 0.5),
    "=": () => zoom(explorer, 0.5),
    "-": () => zoom(explorer, 2),
    Home: () => reset(explorer),
    n: () => jump(explorer, 1),
    p: () => jump(explorer, -1),
    Enter: () => pickAgain(explorer),
  };
  return keys[event.key];
}

export function listenToKeys(explorer) {
  explorer.canvas.addEventListener("keydown", (event) => {
    const work = workOf(explorer, event);
    if (!work || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    guarded(explorer, work)();
  });
}
