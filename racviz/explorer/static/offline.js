// Answers to requests from what the page holds, where there is no session to ask.

const AROUND = 150;

/** The ratio of two sums, or the code in its place. finite: the tokens whose errors are in the sums. */
function ratioOf(top, bottom, tokens, finite) {
  if (!tokens) return NaN;
  if (!finite) return -3;
  if (bottom > 0) return top / bottom;
  return top > 0 ? -1 : -2;
}

function decoded(text) {
  return new Float32Array(Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer);
}

/** The sums over some rows and some bins of the page. */
function sumOf({ top, bottom, bins }, rows, columns) {
  const sum = { top: 0, bottom: 0, tokens: 0, finite: 0 };
  for (let row = rows[0]; row < rows[1]; row++) {
    for (let k = columns[0]; k < columns[1]; k++) {
      const [a, b] = [top[row * bins + k], bottom[row * bins + k]];
      if (b < 0) continue;
      sum.tokens++;
      if (Number.isNaN(a)) continue;
      sum.finite++;
      sum.top += a;
      sum.bottom += b;
    }
  }
  return sum;
}

/** The part that a picture shows: its bins of `step` columns and its groups of rows. */
function partOf({ about, bins, width }, { x, y, pixels }) {
  const left = Math.max(0, x[0]);
  const right = Math.min(about.columns, Math.max(x[1], left + 1));
  let step = width;
  while ((right - left) / step > pixels[0]) step *= 2;
  const merged = step / width;
  const first = Math.floor(left / step);
  const last = Math.min(Math.ceil(right / step), Math.ceil(bins / merged));
  const low = Math.floor(Math.max(0, y[0]));
  const high = Math.min(about.rows, Math.max(low + 1, Math.ceil(y[1])));
  const group = Math.max(1, Math.ceil((high - low) / pixels[1]));
  const rows = Math.ceil((high - low) / group);
  return { step, merged, first, low, high, group, rows, columns: Math.max(1, last - first) };
}

function pictureAnswer(page, request) {
  const { step, merged, first, low, high, group, rows, columns } = partOf(page, request);
  const ratio = new Float32Array(rows * columns);
  const curve = new Float32Array(columns);
  for (let c = 0; c < columns; c++) {
    const start = (first + c) * merged;
    const bins = [start, Math.min(page.bins, start + merged)];
    let [top, bottom] = [0, 0];
    for (let r = 0; r < rows; r++) {
      const places = [low + r * group, Math.min(high, low + (r + 1) * group)];
      const sum = sumOf(page, places, bins);
      ratio[r * columns + c] = ratioOf(sum.top, sum.bottom, sum.tokens, sum.finite);
      top += sum.top;
      bottom += sum.bottom;
    }
    curve[c] = bottom > 0 ? top / bottom : NaN;
  }
  const shown = Array.from({ length: rows }, (_, r) => low + r * group);
  const few = rows <= 60 && group === 1;
  const head = {
    ...{ shape: [rows, columns], start: first * step, width: step, first: low, group },
    boundary: shown.map((row) => page.boundary[row]),
    problems: few ? shown.map((row) => page.problems[row]) : [],
  };
  return [head, [ratio.buffer, curve.buffer]];
}

/** The tokens around a position, with their ratios. */
function textAround(page, place, position) {
  const from = Math.max(0, position - AROUND);
  const to = Math.min(page.lengths[place], position + AROUND + 1);
  const ratios = [];
  const texts = [];
  for (let k = from; k < to; k++) {
    const cell = place * page.bins + k + page.offsets[place];
    const [top, bottom] = [page.top[cell], page.bottom[cell]];
    const ratio = ratioOf(top, bottom, 1, Number.isNaN(top) ? 0 : 1);
    ratios.push(bottom < 0 ? null : ratio);
    texts.push(page.texts[page.ids[place][k]]);
  }
  return { from, texts, ratios, at: position - from };
}

function tokenAnswer(page, { place, column }) {
  if (!page.ids) return [{ error: "this page holds bins of several tokens, and no texts" }, []];
  const length = page.lengths[place];
  const position = column - page.offsets[place];
  if (!(position >= 0 && position < length)) return [{ nothing: true }, []];
  const finite = (value) => (Number.isFinite(value) ? value : null);
  const cell = place * page.bins + column;
  const data = {
    ...{ place, column, position, problem: page.problems[place], length, t_in: page.t_in[place] },
    ...textAround(page, place, position),
    numerator: finite(page.top[cell]),
    denominator: finite(page.bottom[cell]),
    ...(page.questions?.[place] ?? { prompt: "not on this page", key: "" }),
    answers: page.answers?.[place] ?? [],
    live: { reason: "model not loaded: this page stands alone" },
  };
  return [data, []];
}

/** Change the colours; other choices need a session. limit: the one that was found for these errors. */
function coloursAnswer({ about }, choice, limit) {
  for (const name of ["scale", "limit"]) if (name in choice) about.view[name] = choice[name];
  if ("limit" in choice) about.limit = choice.limit > 0 ? choice.limit : limit;
  return [about, []];
}

/** A function that answers requests from a page's data. */
export function answerFrom(data) {
  const page = { ...data, top: decoded(data.top), bottom: decoded(data.bottom) };
  const { limit } = data.about;
  const answers = {
    about: () => [page.about, []],
    picture: (what) => pictureAnswer(page, what),
    token: (what) => tokenAnswer(page, what),
    choose: (what) => coloursAnswer(page, what, limit),
  };
  const refused = [{ error: "this page stands alone: open it with racviz for that" }, []];
  return async (what) => (answers[what.ask] ? answers[what.ask](what) : refused);
}
