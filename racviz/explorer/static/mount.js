// The explorer in an element of a page.

import { buildControls, choose, follow } from "./controls.js";
import { draw } from "./drawing.js";
import { picture, svg } from "./exporting.js";
import { clamp, showWhole } from "./geometry.js";
import { listenToKeys } from "./keys.js";
import { jump, pick, reset, zoom } from "./navigation.js";
import { refresh } from "./picture.js";
import { listenToPointer } from "./pointer.js";
import { createExplorer, guarded, request } from "./state.js";
import { describe } from "./status.js";

/** Draw again when the size or the theme changes; returns a function that ends it. */
function watch(explorer, laidOut) {
  const { canvas } = explorer;
  let width = laidOut;
  const sizes = new ResizeObserver(() => {
    if (canvas.clientWidth === width) return;
    width = canvas.clientWidth;
    if (width) guarded(explorer, refresh)(explorer);
  });
  sizes.observe(canvas);
  const themes = new MutationObserver(() => setTimeout(() => draw(explorer), 300)); // its sheet is late
  const attributeFilter = ["data-jp-theme-light", "data-jp-theme-name", "class"];
  themes.observe(document.body, { attributes: true, attributeFilter });
  return () => {
    sizes.disconnect();
    themes.disconnect();
  };
}

function firstPart({ options, state }) {
  const { x, y } = options.view ?? state.about.window ?? {};
  if (x) state.x = x;
  if (y) state.y = y;
}

/**
 * Show the explorer in `root`; see `createExplorer` for the parameters.
 *
 * Returns its state, and `end`, which stops it. `root.rvx` holds what tests and exports need.
 */
export async function mount(root, ask, options = {}) {
  const explorer = createExplorer(root, ask, options);
  const { canvas, state } = explorer;
  const bind = (work) => work.bind(null, explorer);
  explorer.actions = { follow: bind(follow), pick: bind(pick) };
  listenToPointer(explorer);
  listenToKeys(explorer);
  try {
    [state.about] = await request(explorer, { ask: "about" });
  } catch {
    return { state };
  }
  showWhole(explorer);
  firstPart(explorer);
  clamp(explorer);
  buildControls(explorer);
  draw(explorer);
  const laidOut = canvas.clientWidth; // 0 in a page that is not laid out yet
  await refresh(explorer);
  describe(explorer);
  const end = watch(explorer, laidOut);
  const works = { zoom, jump, pick, choose, reset, svg, picture, refresh };
  const bound = Object.entries(works).map(([name, work]) => [name, bind(work)]);
  root.rvx = { state, ...Object.fromEntries(bound) };
  root.dataset.ready = "1";
  return { state, end };
}
