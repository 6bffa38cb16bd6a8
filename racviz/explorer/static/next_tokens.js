// Beside the text: the tokens that models expect next, and how far their blocks are apart.

import { make, visible } from "./elements.js";
import { guarded, request } from "./state.js";

function candidateRow(candidate) {
  const percent = 100 * candidate.probability;
  const bar = make("i");
  bar.style.width = `${Math.max(1, percent)}%`;
  const shown = visible(candidate.text);
  const text = candidate.text.trim() ? shown : shown.replaceAll("\u00a0", "␣");
  const share = candidate.probability < 0.0005 ? "<0.1 %" : `${percent.toFixed(1)} %`;
  return make(
    "tr",
    {},
    make("td", {}, make("bdi", { text })),
    make("td", { class: "bar" }, bar),
    make("td", { text: share }),
  );
}

function blocksTable(layers) {
  const names = Object.keys(layers);
  const heads = names.map((name) => make("th", { text: name }));
  const rows = layers[names[0]].map((_, block) => {
    const values = names.map((name) => make("td", { text: layers[name][block].toPrecision(3) }));
    return make("tr", {}, make("td", { text: String(block) }), ...values);
  });
  return make("table", {}, make("tr", {}, make("th", { text: "block" }), ...heads), ...rows);
}

function loadButton(explorer, data) {
  const load = async () => {
    await request(explorer, { ask: "load" });
    await explorer.actions.pick(data.place, data.column);
  };
  return make("button", {
    type: "button",
    text: "load the models",
    onclick: guarded(explorer, load),
  });
}

/** The next tokens of each model after the chosen one, or the reason why there are none. */
export function nextTokens(explorer, data) {
  const { live } = data;
  const box = make("div", { class: "rvx-live" });
  if (live.reason) {
    const waiting = live.reason === "not asked for";
    box.append(make("h4", { text: "Next tokens" }));
    box.append(make("div", { text: waiting ? "…" : live.reason }));
    if (live.loadable && !waiting) box.append(loadButton(explorer, data));
    return box;
  }
  for (const [model, candidates] of Object.entries(live.next)) {
    const rows = candidates.map(candidateRow);
    box.append(make("h4", { text: `Next after this token: ${model}` }));
    box.append(make("table", { class: "rvx-bars" }, ...rows));
  }
  if (Object.keys(live.layers).length) {
    box.append(make("h4", { text: "Relative error after each block, at this token" }));
    box.append(blocksTable(live.layers));
  }
  return box;
}
