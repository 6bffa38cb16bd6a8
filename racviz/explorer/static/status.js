// The sentences about the picture: the status line, and the canvas's label for those who do not see it.

import { tell } from "./state.js";

function label({ options, state }) {
  const { view, rows, all_rows: allRows, columns, caption } = state.about;
  const jumps = options.offline ? "." : ", N and P go to the next and the previous large error.";
  return (
    `Heatmap of e(${view.numerator}) over e(${view.denominator}): ` +
    `${rows} of ${allRows} problems, ${columns} token positions. ` +
    `Arrow keys move over tokens, plus and minus zoom, Home shows all${jumps} ${caption}`
  );
}

function cellSizeWords(shown) {
  if (!shown) return "";
  if (shown.width === 1) return " A cell is a token.";
  return ` A cell is ${shown.width} tokens: the ratio of sums.`;
}

/** Describe the picture. */
export function describe(explorer) {
  const { canvas, state } = explorer;
  const { rows, all_rows: allRows, tokens, unusable, notes } = state.about;
  canvas.setAttribute("aria-label", label(explorer));
  if (!rows) {
    tell(explorer, "No problem is left by the filter by answers.");
    return;
  }
  const { shown } = state;
  const group = shown && shown.group > 1 ? ` A row is ${shown.group} problems.` : "";
  const count = unusable.toLocaleString("en");
  const pink = unusable ? ` ${count} tokens have no finite error (pink) and are in no sum.` : "";
  const counts = `${rows} of ${allRows} problems, ${tokens.toLocaleString("en")} tokens.`;
  tell(explorer, counts + cellSizeWords(shown) + group + [pink, ...(notes ?? [])].join(" "));
}
