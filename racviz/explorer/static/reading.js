// The panel below the picture: the text around the chosen token, the problem, and the answers to it.

import { colourOf, css, inkOn, ratioWords } from "./colours.js";
import { make, shorten, visible } from "./elements.js";
import { guarded } from "./state.js";

function tokenSpan(explorer, data, k) {
  const { view, limit } = explorer.state.about;
  const { pick } = explorer.actions;
  const span = make("bdi", {
    text: visible(data.texts[k]),
    title: `position ${data.from + k}: ${ratioWords(data.ratios[k])}`,
    class: k === data.at ? "here" : "",
    onclick: guarded(explorer, () => pick(data.place, data.column + k - data.at)),
  });
  const colour = colourOf(data.ratios[k], view, limit);
  span.style.background = css(colour);
  span.style.color = inkOn(colour);
  return span;
}

function tokenStrip(explorer, data) {
  const strip = make("div", {
    class: "rvx-strip",
    dir: "ltr",
    "aria-label": "tokens around the chosen one",
  });
  data.texts.forEach((text, k) => {
    if (data.from + k === data.t_in) {
      strip.append(make("span", { class: "end", title: "end of the prompt" }));
    }
    const gap = make(text.endsWith("\n") ? "br" : "wbr");
    strip.append(tokenSpan(explorer, data, k), gap);
  });
  return strip;
}

function answerRow(answer) {
  const text = make("bdi", { text: shorten(visible(answer.answer), 200) });
  return make(
    "tr",
    {},
    make("td", { text: answer.model }),
    make("td", { text: answer.correct ? "✓ right" : "✗ wrong" }),
    make("td", {}, text),
    make("td", { text: answer.tokens === null ? "" : `${answer.tokens} tokens` }),
  );
}

function answersTable(data) {
  if (!data.answers.length) return null;
  const table = make("table", {}, ...data.answers.map(answerRow));
  return make("div", {}, make("h4", { text: "Answers" }), table);
}

/** The text around a token, its problem, and the answers to it. */
export function readingPanel(explorer, data) {
  const title = `${data.problem}: the text around position ${data.position}`;
  const key = data.key ? make("div", { dir: "auto", text: `right answer: ${data.key}` }) : null;
  return make(
    "div",
    {},
    make("h4", { text: title }),
    tokenStrip(explorer, data),
    make("h4", { text: "Problem" }),
    make("pre", { dir: "auto", text: data.prompt }),
    key,
    answersTable(data),
  );
}
