// Moves over the errors: zoom, the cursor, and jumps to large errors.

import { ratioWords } from "./colours.js";
import { visible } from "./elements.js";
import { LAYOUT, clamp, fromX, fromY, plotWidth, showWhole } from "./geometry.js";
import { draw } from "./drawing.js";
import { nextTokens } from "./next_tokens.js";
import { refresh } from "./picture.js";
import { readingPanel } from "./reading.js";
import { guarded, request, tell } from "./state.js";
import { describe } from "./status.js";

/** Milliseconds that the cursor rests on a token before its models are asked. */
const REST = 200;

export async function reset(explorer) {
  showWhole(explorer);
  await refresh(explorer);
  describe(explorer);
}

/** Zoom around a pixel; the rows too where `py` is one. */
export async function zoom(explorer, factor, px = null, py = null, since = performance.now()) {
  const { state } = explorer;
  const x = fromX(explorer, px ?? LAYOUT.left + plotWidth(explorer) / 2);
  state.x = state.x.map((edge) => x + (edge - x) * factor);
  if (py !== null) {
    const y = fromY(explorer, py);
    state.y = state.y.map((edge) => y + (edge - y) * factor);
  }
  clamp(explorer);
  await refresh(explorer, since);
  describe(explorer);
}

/** Look at the part around a place where it is not in sight. */
async function bringIntoSight(explorer, axis, place) {
  const { state } = explorer;
  const [low, high] = state[axis];
  if (place >= low && place < high) return;
  const span = high - low;
  state[axis] = [place - span / 2, place + span / 2];
  clamp(explorer);
  await refresh(explorer);
}

const short = (value) => (value === null ? "not finite" : value.toPrecision(4));

function tokenWords({ state }, data) {
  const { view } = state.about;
  const phase = data.position < data.t_in ? "prompt" : "thought and answer";
  const token = `token ${visible(data.texts[data.at])}: ${ratioWords(data.ratios[data.at])}`;
  const errors = [
    `e(${view.numerator}) ${short(data.numerator)}`,
    `e(${view.denominator}) ${short(data.denominator)}`,
  ];
  const place = `${data.problem}, position ${data.position} (${phase})`;
  return [place, token, ...errors].join(", ");
}

/** Show a token that the session told of. live: the element with its next tokens, if there is one. */
async function showToken(explorer, data, before = "", live = null) {
  const { detail, state } = explorer;
  state.chosen = data;
  await bringIntoSight(explorer, "x", data.column);
  await bringIntoSight(explorer, "y", data.place);
  draw(explorer);
  tell(explorer, before + tokenWords(explorer, data));
  detail.replaceChildren(readingPanel(explorer, data), live ?? nextTokens(explorer, data));
  const here = detail.querySelector(".here");
  if (!here) return;
  const strip = here.parentElement;
  strip.scrollTop = here.offsetTop - strip.offsetTop - 90;
}

/** Go on by `step` in the list of large errors. */
export async function jump(explorer, step) {
  const { cursor, state } = explorer;
  cursor.turn++;
  const number = Math.max(0, state.jump + step);
  const [data] = await request(explorer, { ask: "jump", number, live: true });
  state.jump = data.jump;
  await showToken(explorer, data, `Large error ${data.jump + 1} of ${data.jumps}: `);
}

/** Ask models about the token when the cursor has rested on it. */
function askModels(explorer, place, column, turn) {
  const { cursor, detail } = explorer;
  const ask = async () => {
    const [data] = await request(explorer, { ask: "token", place, column, live: true });
    if (turn !== cursor.turn || data.nothing) return;
    detail.querySelector(".rvx-live")?.replaceWith(nextTokens(explorer, data));
  };
  clearTimeout(cursor.rest);
  cursor.rest = setTimeout(guarded(explorer, ask), REST);
}

/** Choose a token. The cursor moves at once; of several requests only the last answer is shown. */
export async function pick(explorer, place, column) {
  const { cursor, detail, options, state } = explorer;
  const turn = ++cursor.turn;
  state.chosen = { ...state.chosen, place, column };
  draw(explorer);
  const [data] = await request(explorer, { ask: "token", place, column, live: false });
  if (turn !== cursor.turn) return;
  if (data.nothing) {
    state.chosen = null;
    draw(explorer);
    tell(explorer, "There is no token here.");
    return;
  }
  await showToken(explorer, data, "", detail.querySelector(".rvx-live"));
  if (!options.offline) askModels(explorer, place, column, turn);
}
