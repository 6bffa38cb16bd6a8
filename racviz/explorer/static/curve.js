// The curve below the heatmap: the ratio of the sums over the rows that are shown.

import { times } from "./colours.js";
import { LAYOUT, toX } from "./geometry.js";

/** Powers of two that the curve's axis reaches up and down: 98 % of the curve lie within. */
function reachOf(curve) {
  const sizes = [...curve].filter((value) => value > 0).map((value) => Math.abs(Math.log2(value)));
  sizes.sort((a, b) => a - b);
  return Math.max(1, ...sizes.slice(0, Math.ceil(sizes.length * 0.98)));
}

function drawLine(explorer, g, top, plot, toPixel) {
  const { curve, shown } = explorer.state;
  g.save();
  g.beginPath();
  g.rect(LAYOUT.left, top, plot, LAYOUT.curve);
  g.clip();
  g.strokeStyle = "#0072b2";
  g.lineWidth = 1.6;
  g.beginPath();
  let open = false;
  curve.forEach((value, k) => {
    if (!(value > 0)) {
      open = false;
      return;
    }
    const x = toX(explorer, shown.start + (k + 0.5) * shown.width);
    if (open) g.lineTo(x, toPixel(value));
    else g.moveTo(x, toPixel(value));
    open = true;
  });
  g.stroke();
  g.restore();
}

/** Draw the curve with its axes. positions: the heatmap's ticks. */
export function drawCurve(explorer, pen, positions) {
  const { g, plot, fore, faint } = pen;
  const { state } = explorer;
  const top = LAYOUT.top + LAYOUT.heat + LAYOUT.gap;
  g.strokeStyle = faint;
  g.lineWidth = 1;
  g.strokeRect(LAYOUT.left - 0.5, top - 0.5, plot + 1, LAYOUT.curve + 1);
  if (!state.shown) return;
  const reach = reachOf(state.curve);
  const toPixel = (value) => top + LAYOUT.curve * (0.5 - Math.log2(value) / (2 * reach * 1.08));
  g.fillStyle = fore;
  g.textAlign = "right";
  for (const value of [2 ** -reach, 1, 2 ** reach]) {
    g.fillText(times(value), LAYOUT.left - 6, toPixel(value));
  }
  g.strokeStyle = faint;
  g.setLineDash([4, 3]);
  g.beginPath();
  g.moveTo(LAYOUT.left, toPixel(1));
  g.lineTo(LAYOUT.left + plot, toPixel(1));
  g.stroke();
  g.setLineDash([]);
  drawLine(explorer, g, top, plot, toPixel);
  g.fillStyle = fore;
  g.textAlign = "center";
  for (const at of positions) {
    g.fillText(
      at.toLocaleString("en"),
      toX(explorer, at + state.about.origin),
      top + LAYOUT.curve + 11,
    );
  }
  g.fillStyle = faint;
  g.textAlign = "left";
  g.fillText("ratio of the sums over the rows shown", LAYOUT.left + 2, top - 8);
}
