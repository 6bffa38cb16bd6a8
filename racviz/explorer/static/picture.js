// Pictures from the session: asked for, coloured, drawn.

import { COLOURS, SPECIAL } from "./colours.js";
import { draw } from "./drawing.js";
import { LAYOUT, plotWidth } from "./geometry.js";
import { guarded, request } from "./state.js";

const LOG2 = 1 / Math.LN2;

async function fetchPicture(explorer) {
  const { state } = explorer;
  const pixels = [Math.round(plotWidth(explorer)), LAYOUT.heat];
  const [data, arrays] = await request(explorer, {
    ask: "picture",
    x: state.x,
    y: state.y,
    pixels,
  });
  state.shown = data;
  state.ratio = new Float32Array(arrays[0]);
  state.odd = new Set();
  state.curve = new Float32Array(arrays[1]);
}

/** Colour the ratios: a pixel a cell. */
function paint({ state }) {
  const { view, limit } = state.about;
  const [height, width] = state.shown.shape.map((size) => Math.max(1, size));
  if (!state.image || state.image.width !== width || state.image.height !== height) {
    state.image = new OffscreenCanvas(width, height);
  }
  const pixels = new ImageData(width, height);
  const out = new Uint32Array(pixels.data.buffer);
  const linear = view.scale === "ratio";
  const reach = 2 * (2 ** limit - 1);
  const span = 2 * limit;
  const { ratio } = state;
  for (let i = 0; i < ratio.length; i++) {
    const value = ratio[i];
    if (Number.isNaN(value)) continue;
    if (value < 0) {
      out[i] = SPECIAL[value];
      state.odd.add(value);
      continue;
    }
    const place = linear
      ? 0.5 + (value - 1) / reach
      : 0.5 + (Math.log(Math.max(value, 1e-12)) * LOG2) / span;
    out[i] = COLOURS[place <= 0 ? 0 : place >= 1 ? 255 : (255 * place + 0.5) | 0];
  }
  state.image.getContext("2d").putImageData(pixels, 0, 0);
}

/** Resolves when the browser has shown the frame that was drawn last. */
function frameShown() {
  return new Promise((done) => {
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = done;
      channel.port2.postMessage(0);
    });
  });
}

/**
 * Draw at once, ask for the picture and draw it. since: when the user asked, for the timings.
 *
 * Pictures are asked for one at a time; of those wanted meanwhile only the last one is.
 */
export async function refresh(explorer, since = performance.now()) {
  const { queue, root, state } = explorer;
  draw(explorer);
  if (queue.busy) {
    queue.next = since;
    return;
  }
  queue.busy = true;
  try {
    await fetchPicture(explorer);
    paint(explorer);
    draw(explorer);
    await frameShown();
    state.timings.push(performance.now() - since);
    root.dataset.painted = String(state.timings.length);
  } finally {
    queue.busy = false;
    if (queue.next !== null) {
      const then = queue.next;
      queue.next = null;
      guarded(explorer, refresh)(explorer, then);
    }
  }
}
