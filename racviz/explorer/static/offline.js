// Answers the face's requests from what the page holds, where there is no session to ask.

export function answers(data) {
  const decode = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const top = decode(data.top), bottom = decode(data.bottom), { bins, width, about } = data;
  const found = about.limit;
  function picture({ x, y, pixels }) {
    const left = Math.max(0, x[0]), right = Math.min(about.columns, Math.max(x[1], left + 1));
    let step = width;
    while ((right - left) / step > pixels[0]) step *= 2;
    const each = step / width, first = Math.floor(left / step), last = Math.min(Math.ceil(right / step), Math.ceil(bins / each));
    const low = Math.floor(Math.max(0, y[0])), high = Math.min(about.rows, Math.max(low + 1, Math.ceil(y[1])));
    const group = Math.max(1, Math.ceil((high - low) / pixels[1])), rows = Math.ceil((high - low) / group), columns = Math.max(1, last - first);
    const ratio = new Float32Array(rows * columns), curve = new Float32Array(columns), sums = new Float64Array(2 * columns);
    const of = (a, b, tokens, known) => (!tokens ? NaN : !known ? -3 : b > 0 ? a / b : a > 0 ? -1 : -2);
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) {
      let a = 0, b = 0, tokens = 0, known = 0;
      for (let row = low + r * group; row < Math.min(high, low + (r + 1) * group); row++) for (let k = (first + c) * each; k < Math.min(bins, (first + c + 1) * each); k++) {
        const t = top[row * bins + k], d = bottom[row * bins + k];
        if (d < 0) continue;
        tokens++;
        if (t === t) { known++; a += t; b += d; }
      }
      ratio[r * columns + c] = of(a, b, tokens, known);
      sums[2 * c] += a; sums[2 * c + 1] += b;
    }
    for (let c = 0; c < columns; c++) curve[c] = sums[2 * c + 1] > 0 ? sums[2 * c] / sums[2 * c + 1] : NaN;
    const shown = Array.from({ length: rows }, (_, r) => low + r * group);
    return [{ shape: [rows, columns], start: first * step, width: step, first: low, group, boundary: shown.map((row) => data.boundary[row]),
      problems: rows <= 60 && group === 1 ? shown.map((row) => data.problems[row]) : [] }, [ratio.buffer, curve.buffer]];
  }
  function token({ place, column }) {
    if (!data.ids) return [{ error: "this page holds bins of several tokens, and no texts" }, []];
    const length = data.lengths[place], position = column - data.offsets[place];
    if (!(position >= 0 && position < length)) return [{ nothing: true }, []];
    const from = Math.max(0, position - 150), to = Math.min(length, position + 151), number = (v) => (Number.isFinite(v) ? v : null);
    const cell = (k) => place * bins + k + data.offsets[place], ratios = [], texts = [];
    for (let k = from; k < to; k++) {
      const a = top[cell(k)], b = bottom[cell(k)];
      ratios.push(b < 0 ? null : a !== a ? -3 : b > 0 ? a / b : a > 0 ? -1 : -2);
      texts.push(data.texts[data.ids[place][k]]);
    }
    return [{ place, column: position + data.offsets[place], position, problem: data.problems[place], length, t_in: data.t_in[place], from, texts, ratios, at: position - from,
      numerator: number(top[cell(position)]), denominator: number(bottom[cell(position)]), ...(data.asked?.[place] ?? { prompt: "not on this page", key: "" }), answers: data.answers?.[place] ?? [],
      live: { reason: "model not loaded: this page stands alone" } }, []];
  }
  function choose(what) {
    for (const name of ["scale", "limit"]) if (name in what) about.view[name] = what[name];
    if ("limit" in what) about.limit = what.limit > 0 ? what.limit : found;
    return [about, []];
  }
  const asks = { about: () => [about, []], picture, token, choose };
  return async (what) => (asks[what.ask] ? asks[what.ask](what) : [{ error: "this page stands alone: open it with racviz for that" }, []]);
}
