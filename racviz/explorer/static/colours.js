// Colours of ratios, and words for the ratios that have no colour on the scale.

export const SCALE = [
  [0, 0x7f0a20],
  [0.15, 0xb5263a],
  [0.32, 0xdd7a63],
  [0.45, 0xe0b9ad],
  [0.5, 0xd2d2d2],
  [0.55, 0xb3c6d8],
  [0.68, 0x6a9fcb],
  [0.85, 0x2465a4],
  [1, 0x0b2f66],
];
const NO_ERROR_BELOW = -1;
const NO_ERROR = -2;
const NOT_FINITE = -3;

const abgr = (r, g, b) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;

/** Colours of codes that stand in the place of a ratio. */
export const SPECIAL = {
  [NO_ERROR_BELOW]: abgr(230, 159, 0),
  [NO_ERROR]: abgr(240, 228, 66),
  [NOT_FINITE]: abgr(204, 121, 167),
};
export const MEANING = {
  [NO_ERROR_BELOW]: "no error in the denominator",
  [NO_ERROR]: "no error of either",
  [NOT_FINITE]: "not a finite number",
};

function palette() {
  const table = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const place = i / 255;
    const k = Math.max(
      1,
      SCALE.findIndex(([at]) => at >= place),
    );
    const [low, from] = SCALE[k - 1];
    const [high, to] = SCALE[k];
    const t = (place - low) / (high - low);
    const mix = (shift) =>
      Math.round(((from >> shift) & 255) * (1 - t) + ((to >> shift) & 255) * t);
    table[i] = (255 << 24) | (mix(0) << 16) | (mix(8) << 8) | mix(16);
  }
  return table;
}

/** The scale in 256 steps, as pixels of an ImageData. */
export const COLOURS = palette();

/** The pixel of a ratio; 0, which is transparent, where there is no token. */
export function colourOf(ratio, view, limit) {
  if (ratio === null || Number.isNaN(ratio)) return 0;
  if (ratio < 0) return SPECIAL[ratio];
  const place =
    view.scale === "ratio"
      ? 0.5 + (ratio - 1) / (2 * (2 ** limit - 1))
      : 0.5 + Math.log2(Math.max(ratio, 1e-12)) / (2 * limit);
  return COLOURS[Math.min(255, Math.max(0, Math.round(255 * place)))];
}

export function css(pixel) {
  if (!pixel) return "transparent";
  return `rgb(${pixel & 255}, ${(pixel >> 8) & 255}, ${(pixel >> 16) & 255})`;
}

/** The colour of a text that is readable on a pixel. */
export function inkOn(pixel) {
  const light =
    0.299 * (pixel & 255) + 0.587 * ((pixel >> 8) & 255) + 0.114 * ((pixel >> 16) & 255);
  return light < 140 && pixel ? "#fff" : "#222";
}

export const times = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3)) + "×";

/** A ratio in words. */
export function ratioWords(ratio) {
  if (ratio === null || Number.isNaN(ratio)) return "no token";
  return MEANING[ratio] ?? times(ratio);
}
