// The controls above the picture, and the choices that they make.

import { make } from "./elements.js";
import { saveCsv, savePng, saveSvg } from "./exporting.js";
import { clamp, showWhole } from "./geometry.js";
import { jump, reset, zoom } from "./navigation.js";
import { refresh } from "./picture.js";
import { guarded, request, tell } from "./state.js";
import { describe } from "./status.js";

/** Labels of the choices, in their order. */
const LABELS = {
  numerator: "error of",
  denominator: "over error of",
  order: "rows by",
  align: "align at",
  phase: "phase",
  tokens: "tokens",
  answers: "answers",
  scale: "colour by",
  errors_of: "what is compared",
};

function choiceSelect(explorer, name) {
  const { choices, view, lacking } = explorer.state.about;
  const onchange = guarded(explorer, () => choose(explorer, { [name]: select.value }));
  const select = make("select", { "aria-label": LABELS[name], "data-name": name, onchange });
  for (const value of choices[name]) select.append(make("option", { value, text: value }));
  for (const value of name === "order" ? lacking : []) {
    select.append(make("option", { value, disabled: "", text: `${value} (not known here)` }));
  }
  select.value = view[name];
  return make("label", {}, LABELS[name], select);
}

function limitInput(explorer) {
  const limit = () => Math.min(40, Math.max(0, +input.value || 0));
  const input = make("input", {
    type: "number",
    min: 0.1,
    max: 40,
    step: 0.25,
    value: (+explorer.state.about.limit).toFixed(2),
    "aria-label": "colours end at, powers of two",
    "data-name": "limit",
    onchange: guarded(explorer, () => choose(explorer, { limit: limit() })),
  });
  return make("label", {}, "colours to 2^", input);
}

/** Tell the line of Python that opens the picture. */
async function tellLine(explorer) {
  [explorer.state.about] = await request(explorer, { ask: "about" });
  tell(explorer, explorer.state.about.line);
}

function buttons(explorer) {
  const button = (text, label, work) =>
    make("button", {
      ...{ type: "button", text, "aria-label": label, title: label },
      onclick: guarded(explorer, () => work(explorer)),
    });
  const jumps = [
    button("◂ large", "previous large error", () => jump(explorer, -1)),
    button("large ▸", "next large error", () => jump(explorer, 1)),
  ];
  const line = [button("Python", "show the Python line that opens this", tellLine)];
  return [
    button("all", "show everything", reset),
    button("+", "zoom in", () => zoom(explorer, 0.5)),
    button("−", "zoom out", () => zoom(explorer, 2)),
    ...(explorer.options.offline ? [] : jumps),
    button("PNG", "save the picture as PNG", savePng),
    button("SVG", "save the picture as SVG", saveSvg),
    button("CSV", "save the bins that are seen as CSV", saveCsv),
    ...(explorer.options.offline ? [] : line),
  ];
}

export function buildControls(explorer) {
  const { choices } = explorer.state.about;
  const names = Object.keys(LABELS).filter((name) => choices[name] && choices[name].length > 1);
  const selects = names.map((name) => choiceSelect(explorer, name));
  explorer.controls.replaceChildren(...selects, limitInput(explorer), ...buttons(explorer));
}

/** Follow a choice that another page of the session made. */
export function follow(explorer, about) {
  explorer.state.about = about;
  explorer.state.chosen = null;
  explorer.detail.replaceChildren();
  clamp(explorer);
  buildControls(explorer);
}

/** Choose another view; where the session refuses it, the controls go back. */
export async function choose(explorer, choice) {
  const { detail, state } = explorer;
  const { align } = state.about.view;
  try {
    [state.about] = await request(explorer, { ask: "choose", ...choice });
  } catch {
    buildControls(explorer);
    return;
  }
  if (align !== state.about.view.align || "errors_of" in choice) showWhole(explorer);
  state.chosen = null;
  state.jump = -1;
  detail.replaceChildren();
  clamp(explorer);
  buildControls(explorer);
  await refresh(explorer);
  describe(explorer);
}
