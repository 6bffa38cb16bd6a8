// Right of the heatmap and below it: the scale of colours, the title, the caption, and codes that are shown.

import { MEANING, SCALE, SPECIAL, css, times } from "./colours.js";
import { shorten } from "./elements.js";
import { HEIGHT, LAYOUT } from "./geometry.js";

function drawScale(explorer, { g, plot, fore }) {
  const { view, limit } = explorer.state.about;
  const bar = g.createLinearGradient(0, LAYOUT.top + LAYOUT.heat, 0, LAYOUT.top);
  for (const [at, colour] of SCALE) {
    bar.addColorStop(at, `rgb(${colour >> 16}, ${(colour >> 8) & 255}, ${colour & 255})`);
  }
  const left = LAYOUT.left + plot + 14;
  g.fillStyle = bar;
  g.fillRect(left, LAYOUT.top, 12, LAYOUT.heat);
  g.fillStyle = fore;
  g.textAlign = "left";
  for (let k = -4; k <= 4; k++) {
    const t = k / 4;
    const value = view.scale === "ratio" ? 1 + t * (2 ** limit - 1) : 2 ** (t * limit);
    const y = LAYOUT.top + LAYOUT.heat * (0.5 - t / 2) * 0.97 + 6;
    if (value >= 0) g.fillText(times(value), left + 17, y);
  }
}

/** Draw the codes in the picture, for which the scale has no colour. */
function drawCodes(explorer, { g, fore }) {
  let left = LAYOUT.left;
  for (const code of explorer.state.odd ?? []) {
    g.fillStyle = css(SPECIAL[code]);
    g.fillRect(left, HEIGHT - 30, 10, 10);
    g.fillStyle = fore;
    g.fillText(MEANING[code], left + 14, HEIGHT - 25);
    left += 34 + 6 * MEANING[code].length;
  }
}

function drawTitle(explorer, { g, width, faint }) {
  const { view } = explorer.state.about;
  g.save();
  g.translate(width - 12, LAYOUT.top + LAYOUT.heat / 2);
  g.rotate(Math.PI / 2);
  g.textAlign = "center";
  g.fillStyle = faint;
  g.fillText(shorten(`e(${view.numerator}) / e(${view.denominator})`, 70), 0, 0);
  g.restore();
}

export function drawLegend(explorer, pen) {
  const { g, width, faint } = pen;
  drawScale(explorer, pen);
  g.fillStyle = faint;
  g.fillText(shorten(explorer.state.about.caption, Math.floor(width / 5.6)), 8, HEIGHT - 10);
  drawCodes(explorer, pen);
  drawTitle(explorer, pen);
}
