// The picture: heatmap, boundary, chosen token and axes; curve and legend are drawn by files of their own.

import { drawCurve } from "./curve.js";
import { HEIGHT, LAYOUT, plotWidth, ticks, toX, toY } from "./geometry.js";
import { drawLegend } from "./legend.js";

/** Size the target, clear it, and return what the other functions draw with. */
function openPen(explorer, target, ratio) {
  const { canvas, root } = explorer;
  const width = canvas.clientWidth;
  const g = target.getContext("2d");
  const [w, h] = [Math.round(width * ratio), Math.round(HEIGHT * ratio)];
  if (target.width !== w || target.height !== h) {
    target.width = w;
    target.height = h;
  }
  if (target === canvas) canvas.style.height = `${HEIGHT}px`;
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  const style = getComputedStyle(root);
  const colour = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
  g.fillStyle = colour("--page", "#fff");
  g.fillRect(0, 0, width, HEIGHT);
  const [fore, faint] = [colour("--ink", "#222"), colour("--faint", "#666")];
  return { g, width, fore, faint, plot: plotWidth(explorer) };
}

/** Draw the cells, and over them the line at which thoughts begin. */
function drawCells(explorer, g) {
  const { shown, image } = explorer.state;
  const [rows, columns] = shown.shape;
  const left = toX(explorer, shown.start);
  const top = toY(explorer, shown.first);
  const right = toX(explorer, shown.start + columns * shown.width);
  const bottom = toY(explorer, shown.first + rows * shown.group);
  g.imageSmoothingEnabled = false;
  g.drawImage(image, left, top, right - left, bottom - top);
  g.strokeStyle = "#111";
  g.lineWidth = 1.6;
  g.beginPath();
  shown.boundary.forEach((edge, k) => {
    const x = toX(explorer, edge);
    g.lineTo(x, toY(explorer, shown.first + k * shown.group));
    g.lineTo(x, toY(explorer, shown.first + (k + 1) * shown.group));
  });
  g.stroke();
}

function drawChosen(explorer, g) {
  const { column, place } = explorer.state.chosen;
  const [x, y] = [toX(explorer, column), toY(explorer, place)];
  const w = Math.max(5, toX(explorer, column + 1) - x);
  const h = Math.max(5, toY(explorer, place + 1) - y);
  for (const [colour, line] of [
    ["#000", 3],
    ["#ffd000", 1.4],
  ]) {
    g.strokeStyle = colour;
    g.lineWidth = line;
    g.strokeRect(x - 1, y - 1, w + 2, h + 2);
  }
}

function drawHeat(explorer, { g, plot, faint }) {
  const { state } = explorer;
  g.save();
  g.beginPath();
  g.rect(LAYOUT.left, LAYOUT.top, plot, LAYOUT.heat);
  g.clip();
  g.fillStyle = "#fff";
  g.fillRect(LAYOUT.left, LAYOUT.top, plot, LAYOUT.heat);
  if (state.shown && state.image) drawCells(explorer, g);
  if (state.chosen) drawChosen(explorer, g);
  g.restore();
  g.strokeStyle = faint;
  g.lineWidth = 1;
  g.strokeRect(LAYOUT.left - 0.5, LAYOUT.top - 0.5, plot + 1, LAYOUT.heat + 1);
}

/** Draw the heatmap's axes; returns the ticks of the positions. */
function drawAxes(explorer, { g, plot, fore, faint }) {
  const { state } = explorer;
  const { view, origin, rows } = state.about;
  const bottom = LAYOUT.top + LAYOUT.heat;
  g.fillStyle = fore;
  g.textAlign = "right";
  for (const place of ticks(state.y[0], state.y[1], 8)) {
    if (place < rows) g.fillText(String(place), LAYOUT.left - 6, toY(explorer, place + 0.5));
  }
  g.textAlign = "center";
  const positions = ticks(state.x[0] - origin, state.x[1] - origin, plot / 90);
  for (const at of positions) {
    g.fillText(at.toLocaleString("en"), toX(explorer, at + origin), bottom + 11);
  }
  g.fillStyle = faint;
  const words = view.align === "boundary" ? "tokens from the end of the prompt" : "token position";
  g.fillText(words, LAYOUT.left + plot / 2, bottom + 25);
  g.save();
  g.translate(13, LAYOUT.top + LAYOUT.heat / 2);
  g.rotate(-Math.PI / 2);
  g.fillText(`problems, by ${view.order}`, 0, 0);
  g.restore();
  return positions;
}

/**
 * Draw everything on a canvas, or on another target with the same context.
 *
 * A canvas without a width is left: a notebook takes out outputs that are not in sight.
 */
export function draw(explorer, target = explorer.canvas, ratio = window.devicePixelRatio || 1) {
  if (!explorer.canvas.clientWidth) return;
  const pen = openPen(explorer, target, ratio);
  if (!explorer.state.about) return;
  pen.g.font = "11px Inter, Segoe UI, Roboto, Arial, sans-serif";
  pen.g.textBaseline = "middle";
  drawHeat(explorer, pen);
  const positions = drawAxes(explorer, pen);
  drawCurve(explorer, pen, positions);
  drawLegend(explorer, pen);
}
