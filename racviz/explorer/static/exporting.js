// The picture as PNG and SVG, the cells as CSV.

import { ratioWords } from "./colours.js";
import { draw } from "./drawing.js";
import { HEIGHT } from "./geometry.js";
import { SvgContext, escaped } from "./svg.js";

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 5000);
}

/** The picture on a canvas of its own. ratio: its pixels by those of the page. */
export function picture(explorer, ratio = 2) {
  const copy = document.createElement("canvas");
  draw(explorer, copy, ratio);
  return copy;
}

/** The picture as the text of an SVG. */
export function svg(explorer) {
  const { canvas, state } = explorer;
  const { view } = state.about;
  const width = canvas.clientWidth;
  const context = new SvgContext();
  draw(explorer, { getContext: () => context, width, height: HEIGHT }, 1);
  const size = `width="${width}" height="${HEIGHT}" viewBox="0 0 ${width} ${HEIGHT}"`;
  const font = 'font-size="11" font-family="Inter, Segoe UI, Roboto, Arial, sans-serif"';
  const title = escaped(`e(${view.numerator}) / e(${view.denominator})`);
  const head = `<svg xmlns="http://www.w3.org/2000/svg" ${size} ${font}><title>${title}</title>`;
  return `${head}${context.parts.join("")}</svg>`;
}

export function savePng(explorer) {
  picture(explorer).toBlob((blob) => save(blob, "racviz.png"));
}

export function saveSvg(explorer) {
  save(new Blob([svg(explorer)], { type: "image/svg+xml" }), "racviz.svg");
}

/** Save the cells that are seen, a line each; those without a token are left out. */
export function saveCsv({ state }) {
  const { shape, first, group, start, width } = state.shown;
  const [rows, columns] = shape;
  const lines = ["row,first_column,columns,ratio"];
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const value = state.ratio[r * columns + c];
      if (Number.isNaN(value)) continue;
      const words = value >= 0 ? value : JSON.stringify(ratioWords(value));
      lines.push(`${first + r * group},${start + c * width},${width},${words}`);
    }
  }
  save(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }), "racviz.csv");
}
