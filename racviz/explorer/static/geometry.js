// Pixels of the canvas, and the columns and rows that lie there.

export const LAYOUT = { left: 62, right: 96, top: 12, heat: 400, gap: 34, curve: 96, bottom: 62 };
export const HEIGHT = LAYOUT.top + LAYOUT.heat + LAYOUT.gap + LAYOUT.curve + LAYOUT.bottom;

export const plotWidth = ({ canvas }) =>
  Math.max(80, canvas.clientWidth - LAYOUT.left - LAYOUT.right);

export function toX(explorer, column) {
  const [low, high] = explorer.state.x;
  return LAYOUT.left + ((column - low) / (high - low)) * plotWidth(explorer);
}

export function toY(explorer, place) {
  const [low, high] = explorer.state.y;
  return LAYOUT.top + ((place - low) / (high - low)) * LAYOUT.heat;
}

export function fromX(explorer, px) {
  const [low, high] = explorer.state.x;
  return low + ((px - LAYOUT.left) / plotWidth(explorer)) * (high - low);
}

export function fromY(explorer, py) {
  const [low, high] = explorer.state.y;
  return low + ((py - LAYOUT.top) / LAYOUT.heat) * (high - low);
}

export function inHeat(explorer, px, py) {
  const across = px >= LAYOUT.left && px < LAYOUT.left + plotWidth(explorer);
  return across && py >= LAYOUT.top && py < LAYOUT.top + LAYOUT.heat;
}

/** Look at all columns and rows. */
export function showWhole({ state }) {
  state.x = [0, state.about.columns];
  state.y = [0, Math.max(1, state.about.rows)];
}

/** Keep the part that is looked at inside the errors, and at least eight columns and one row large. */
export function clamp({ state }) {
  const { columns, rows } = state.about;
  const fit = ([low, high], most, least) => {
    const span = Math.min(most, Math.max(least, high - low));
    const start = Math.min(Math.max(0, low), most - span);
    return [start, start + span];
  };
  state.x = fit(state.x, columns, Math.min(8, columns));
  state.y = fit(state.y, Math.max(1, rows), Math.min(1, rows || 1));
}

/** About `count` round whole numbers from low to high. */
export function ticks(low, high, count) {
  const raw = Math.max((high - low) / count, 1e-9);
  const power = 10 ** Math.floor(Math.log10(raw));
  const round = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const step = Math.max(1, round);
  const out = [];
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) out.push(Math.round(at));
  return out;
}
