// The explorer's face: draws bins that a session sends, and asks it for others. No text of a model is ever made into HTML.

const SCALE = [[0, 0x7f0a20], [0.15, 0xb5263a], [0.32, 0xdd7a63], [0.45, 0xe0b9ad], [0.5, 0xd2d2d2], [0.55, 0xb3c6d8], [0.68, 0x6a9fcb], [0.85, 0x2465a4], [1, 0x0b2f66]];
const NO_ERROR_BELOW = -1, NO_ERROR = -2, NOT_FINITE = -3;
const ROOM = { left: 62, right: 96, top: 12, heat: 400, gap: 34, curve: 96, bottom: 62 };
const HEIGHT = ROOM.top + ROOM.heat + ROOM.gap + ROOM.curve + ROOM.bottom;
const WORDS = { numerator: "error of", denominator: "over error of", order: "rows by", align: "align at", phase: "phase", tokens: "tokens", answers: "answers",
  scale: "colour by", errors_of: "what is compared" };

function palette() {
  const table = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const place = i / 255, k = Math.max(1, SCALE.findIndex(([at]) => at >= place)), [a, c] = SCALE[k - 1], [b, d] = SCALE[k], t = (place - a) / (b - a);
    const mix = (shift) => Math.round(((c >> shift) & 255) * (1 - t) + ((d >> shift) & 255) * t);
    table[i] = (255 << 24) | (mix(0) << 16) | (mix(8) << 8) | mix(16);
  }
  return table;
}
const COLOURS = palette(), ABGR = (r, g, b) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
const SPECIAL = { [NO_ERROR_BELOW]: ABGR(230, 159, 0), [NO_ERROR]: ABGR(240, 228, 66), [NOT_FINITE]: ABGR(204, 121, 167) };
const MEANING = { [NO_ERROR_BELOW]: "no error in the denominator", [NO_ERROR]: "no error of either", [NOT_FINITE]: "not a finite number" };

function colourOf(ratio, view, limit) {
  if (ratio === null || Number.isNaN(ratio)) return 0;
  if (ratio < 0) return SPECIAL[ratio];
  const place = view.scale === "ratio" ? 0.5 + (ratio - 1) / (2 * (2 ** limit - 1)) : 0.5 + Math.log2(Math.max(ratio, 1e-12)) / (2 * limit);
  return COLOURS[Math.min(255, Math.max(0, Math.round(255 * place)))];
}
const css = (abgr) => (abgr ? `rgb(${abgr & 255}, ${(abgr >> 8) & 255}, ${(abgr >> 16) & 255})` : "transparent");
const ink = (abgr) => (0.299 * (abgr & 255) + 0.587 * ((abgr >> 8) & 255) + 0.114 * ((abgr >> 16) & 255) < 140 && abgr ? "#fff" : "#222");
const times = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3)) + "×";

export function said(ratio) {
  if (ratio === null || Number.isNaN(ratio)) return "no token";
  return MEANING[ratio] ?? times(ratio);
}

// A token as it can be seen: control characters, marks of direction and spaces by signs; everything else as it is, and as text only.
export function visible(token) {
  let out = "";
  for (const char of token) {
    if (char === "\n") out += "⏎";
    else if (char === " ") out += "\u00a0";
    else if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}]/u.test(char)) out += "\\u" + char.codePointAt(0).toString(16).padStart(4, "0");
    else out += char;
  }
  return out || "∅";
}

const plain = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

// As much of a canvas's context as `draw` needs, writing SVG: axes, text and curves as such, the cells as one image.
class SvgContext {
  parts = []; path = ""; stack = []; turned = ""; clipped = ""; dash = []; made = 0;
  put(text) { const attributes = `${this.turned ? ` transform="${this.turned}"` : ""}`; this.parts.push(this.clipped ? `<g clip-path="url(#${this.clipped})">${text.replace("/>", `${attributes}/>`)}</g>` : text.replace(/(\/?>)/, `${attributes}$1`)); }
  setTransform() {} setLineDash(dash) { this.dash = dash; }
  save() { this.stack.push([this.turned, this.clipped]); } restore() { [this.turned, this.clipped] = this.stack.pop(); }
  translate(x, y) { this.turned += `translate(${x} ${y})`; } rotate(angle) { this.turned += `rotate(${(angle * 180) / Math.PI})`; }
  beginPath() { this.path = ""; this.box = null; } rect(x, y, w, h) { this.box = [x, y, w, h]; }
  clip() { const [x, y, w, h] = this.box, id = `c${++this.made}`; this.parts.push(`<clipPath id="${id}"><rect x="${x}" y="${y}" width="${w}" height="${h}"/></clipPath>`); this.clipped = id; }
  moveTo(x, y) { this.path += `M${x.toFixed(2)} ${y.toFixed(2)}`; } lineTo(x, y) { this.path += `${this.path ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`; }
  stroke() { this.put(`<path d="${this.path}" fill="none" stroke="${this.strokeStyle}" stroke-width="${this.lineWidth}" stroke-dasharray="${this.dash.join(" ")}"/>`); }
  fillRect(x, y, w, h) { this.put(`<rect x="${x}" y="${y}" width="${w}" height="${h}" fill="${this.fillStyle.url ?? this.fillStyle}"/>`); }
  strokeRect(x, y, w, h) { this.put(`<rect x="${x}" y="${y}" width="${w}" height="${h}" fill="none" stroke="${this.strokeStyle}" stroke-width="${this.lineWidth}"/>`); }
  fillText(text, x, y) {
    const anchor = { left: "start", right: "end", center: "middle" }[this.textAlign];
    this.put(`<text x="${x.toFixed(2)}" y="${y.toFixed(2)}" dominant-baseline="central" text-anchor="${anchor}" fill="${this.fillStyle}">${plain(text)}</text>`);
  }
  createLinearGradient(x1, y1, x2, y2) {
    const id = `g${++this.made}`, stops = [], at = this.parts.length;
    this.parts.push("");
    const write = () => { this.parts[at] = `<linearGradient id="${id}" gradientUnits="userSpaceOnUse" x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}">${stops.join("")}</linearGradient>`; };
    return { url: `url(#${id})`, addColorStop: (place, colour) => { stops.push(`<stop offset="${place}" stop-color="${colour}"/>`); write(); } };
  }
  drawImage(image, x, y, w, h) {
    const copy = document.createElement("canvas");
    copy.width = image.width; copy.height = image.height; copy.getContext("2d").drawImage(image, 0, 0);
    this.put(`<image x="${x}" y="${y}" width="${w}" height="${h}" preserveAspectRatio="none" style="image-rendering:pixelated" href="${copy.toDataURL("image/png")}"/>`);
  }
}

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "text") element.textContent = value;
    else if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

// ask: (request) => Promise of [data, arrays]. Returns what tests and exports need.
export async function mount(root, ask, how = {}) {
  root.classList.add("rvx");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Explorer of reconstruction errors");
  const canvas = make("canvas", { tabindex: 0, role: "application", "aria-roledescription": "heatmap", class: "rvx-heat" });
  const controls = make("div", { class: "rvx-controls" }), status = make("div", { class: "rvx-status", role: "status", "aria-live": "polite" });
  const tip = make("div", { class: "rvx-tip" }), detail = make("div", { class: "rvx-detail" });
  root.replaceChildren(controls, canvas, status, tip, detail);
  root.classList.toggle("bare", Boolean(how.bare));
  const state = { about: null, x: [0, 1], y: [0, 1], shown: null, image: null, chosen: null, jump: -1, asked: 0, timings: [] };
  const tell = (text, wrong = false) => { status.textContent = text; status.classList.toggle("wrong", wrong); };
  const request = async (what) => {
    const [data, arrays] = await ask({ ...what, ...(state.about ? { version: state.about.version } : {}) });
    if (data.error) { tell(data.error, true); throw Object.assign(new Error(data.error), { told: true }); }
    if (data.changed) { // another face of this session chose something else: this one follows
      state.about = data.changed; state.chosen = null; detail.replaceChildren(); clamp(); buildControls();
      return request(what);
    }
    return [data, arrays];
  };
  const quietly = (work) => async (...given) => { try { await work(...given); } catch (error) { if (!error.told) tell(String(error), true); } };

  const size = () => ({ w: Math.max(80, canvas.clientWidth - ROOM.left - ROOM.right), h: ROOM.heat });
  const toX = (column) => ROOM.left + ((column - state.x[0]) / (state.x[1] - state.x[0])) * size().w;
  const toY = (place) => ROOM.top + ((place - state.y[0]) / (state.y[1] - state.y[0])) * ROOM.heat;
  const fromX = (px) => state.x[0] + ((px - ROOM.left) / size().w) * (state.x[1] - state.x[0]);
  const fromY = (py) => state.y[0] + ((py - ROOM.top) / ROOM.heat) * (state.y[1] - state.y[0]);
  const whole = () => { state.x = [0, state.about.columns]; state.y = [0, Math.max(1, state.about.rows)]; };

  function clamp() {
    const fit = ([a, b], most, least) => {
      const span = Math.min(most, Math.max(least, b - a)), low = Math.min(Math.max(0, a), most - span);
      return [low, low + span];
    };
    state.x = fit(state.x, state.about.columns, Math.min(8, state.about.columns));
    state.y = fit(state.y, Math.max(1, state.about.rows), Math.min(1, state.about.rows || 1));
  }

  // A picture is asked for one at a time; of what was asked while one was under way only the last counts.
  let busy = false, next = null;
  async function refresh(since = performance.now()) {
    draw();
    if (busy) { next = since; return; }
    busy = true;
    try {
      const { w } = size(), pixels = [Math.round(w), ROOM.heat];
      const [data, arrays] = await request({ ask: "picture", x: state.x, y: state.y, pixels });
      state.shown = data;
      state.ratio = new Float32Array(arrays[0]);
      state.odd = new Set();
      state.curve = new Float32Array(arrays[1]);
      paint();
      draw();
      await new Promise((done) => requestAnimationFrame(() => { const channel = new MessageChannel(); channel.port1.onmessage = done; channel.port2.postMessage(0); }));
      state.timings.push(performance.now() - since);
      root.dataset.painted = String(state.timings.length);
    } finally {
      busy = false;
      if (next !== null) { const then = next; next = null; quietly(refresh)(then); }
    }
  }

  function paint() {
    const [rows, columns] = state.shown.shape, { view, limit } = state.about;
    if (!state.image || state.image.width !== columns || state.image.height !== rows) state.image = new OffscreenCanvas(Math.max(1, columns), Math.max(1, rows));
    const pixels = new ImageData(Math.max(1, columns), Math.max(1, rows)), out = new Uint32Array(pixels.data.buffer), ratio = state.ratio;
    const linear = view.scale === "ratio", reach = 2 * (2 ** limit - 1), span = 2 * limit, LOG = 1 / Math.LN2;
    for (let i = 0; i < ratio.length; i++) {
      const value = ratio[i];
      if (value !== value) continue;
      if (value < 0) { out[i] = SPECIAL[value]; state.odd.add(value); continue; }
      const place = linear ? 0.5 + (value - 1) / reach : 0.5 + (Math.log(value > 1e-12 ? value : 1e-12) * LOG) / span;
      out[i] = COLOURS[place <= 0 ? 0 : place >= 1 ? 255 : (255 * place + 0.5) | 0];
    }
    state.image.getContext("2d").putImageData(pixels, 0, 0);
  }

  function nice(low, high, count) {
    const raw = Math.max((high - low) / count, 1e-9), power = 10 ** Math.floor(Math.log10(raw)), step = Math.max(1, [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw));
    const out = [];
    for (let at = Math.ceil(low / step) * step; at <= high; at += step) out.push(Math.round(at));
    return out;
  }

  function draw(target = canvas, ratio = window.devicePixelRatio || 1) {
    const width = canvas.clientWidth, g = target.getContext("2d"), style = getComputedStyle(root);
    if (!width) return; // a notebook takes out what is not in sight; it is drawn when it comes back
    if (target.width !== Math.round(width * ratio) || target.height !== Math.round(HEIGHT * ratio)) { target.width = Math.round(width * ratio); target.height = Math.round(HEIGHT * ratio); }
    if (target === canvas) canvas.style.height = `${HEIGHT}px`;
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    const fore = style.getPropertyValue("--ink").trim() || "#222", faint = style.getPropertyValue("--faint").trim() || "#666", page = style.getPropertyValue("--page").trim() || "#fff";
    g.fillStyle = page; g.fillRect(0, 0, width, HEIGHT);
    if (!state.about) return;
    const { w } = size(), { view, limit, origin } = state.about, bottom = ROOM.top + ROOM.heat;
    g.font = "11px Inter, Segoe UI, Roboto, Arial, sans-serif"; g.textBaseline = "middle";
    g.save(); g.beginPath(); g.rect(ROOM.left, ROOM.top, w, ROOM.heat); g.clip();
    g.fillStyle = "#fff"; g.fillRect(ROOM.left, ROOM.top, w, ROOM.heat);
    if (state.shown && state.image) {
      const s = state.shown, [rows, columns] = s.shape;
      g.imageSmoothingEnabled = false;
      g.drawImage(state.image, toX(s.start), toY(s.first), toX(s.start + columns * s.width) - toX(s.start), toY(s.first + rows * s.group) - toY(s.first));
      g.strokeStyle = "#111"; g.lineWidth = 1.6; g.beginPath();
      s.boundary.forEach((edge, k) => { const x = toX(edge); g.lineTo(x, toY(s.first + k * s.group)); g.lineTo(x, toY(s.first + (k + 1) * s.group)); });
      g.stroke();
    }
    if (state.chosen) {
      const c = state.chosen, x = toX(c.column), y = toY(c.place), cw = Math.max(5, toX(c.column + 1) - x), ch = Math.max(5, toY(c.place + 1) - y);
      g.strokeStyle = "#000"; g.lineWidth = 3; g.strokeRect(x - 1, y - 1, cw + 2, ch + 2); g.strokeStyle = "#ffd000"; g.lineWidth = 1.4; g.strokeRect(x - 1, y - 1, cw + 2, ch + 2);
    }
    g.restore();
    g.strokeStyle = faint; g.lineWidth = 1; g.strokeRect(ROOM.left - 0.5, ROOM.top - 0.5, w + 1, ROOM.heat + 1);
    g.fillStyle = fore; g.textAlign = "right";
    for (const place of nice(state.y[0], state.y[1], 8)) if (place < state.about.rows) g.fillText(String(place), ROOM.left - 6, toY(place + 0.5));
    g.textAlign = "center";
    const ticks = nice(state.x[0] - origin, state.x[1] - origin, w / 90);
    for (const at of ticks) g.fillText(at.toLocaleString("en"), toX(at + origin), bottom + 11);
    g.fillStyle = faint; g.fillText(view.align === "boundary" ? "tokens from the end of the prompt" : "token position", ROOM.left + w / 2, bottom + 25);
    g.save(); g.translate(13, ROOM.top + ROOM.heat / 2); g.rotate(-Math.PI / 2); g.fillText(`problems, by ${view.order}`, 0, 0); g.restore();
    drawCurve(g, w, bottom + ROOM.gap, fore, faint, ticks, origin);
    const bar = g.createLinearGradient(0, bottom, 0, ROOM.top);
    SCALE.forEach(([at, c]) => bar.addColorStop(at, `rgb(${c >> 16}, ${(c >> 8) & 255}, ${c & 255})`));
    const bx = ROOM.left + w + 14;
    g.fillStyle = bar; g.fillRect(bx, ROOM.top, 12, ROOM.heat); g.fillStyle = fore; g.textAlign = "left";
    for (let k = -4; k <= 4; k++) {
      const t = k / 4, value = view.scale === "ratio" ? 1 + t * (2 ** limit - 1) : 2 ** (t * limit);
      if (value >= 0) g.fillText(times(value), bx + 17, ROOM.top + ROOM.heat * (0.5 - t / 2) * 0.97 + 6);
    }
    g.fillStyle = faint; g.fillText(clip(state.about.caption, Math.floor(width / 5.6)), 8, HEIGHT - 10);
    let sign = ROOM.left;
    for (const odd of state.odd ?? []) { // what the scale does not say
      g.fillStyle = css(SPECIAL[odd]); g.fillRect(sign, HEIGHT - 30, 10, 10); g.fillStyle = fore; g.fillText(MEANING[odd], sign + 14, HEIGHT - 25);
      sign += 34 + 6 * MEANING[odd].length;
    }
    g.save(); g.translate(width - 12, ROOM.top + ROOM.heat / 2); g.rotate(Math.PI / 2); g.textAlign = "center"; g.fillStyle = faint;
    g.fillText(clip(`e(${view.numerator}) / e(${view.denominator})`, 70), 0, 0); g.restore();
  }
  const clip = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);

  function drawCurve(g, w, top, fore, faint, ticks, origin) {
    g.strokeStyle = faint; g.lineWidth = 1; g.strokeRect(ROOM.left - 0.5, top - 0.5, w + 1, ROOM.curve + 1);
    if (!state.shown) return;
    const known = [...state.curve].filter((v) => v > 0), reach = Math.max(1, ...known.map((v) => Math.abs(Math.log2(v))).sort((a, b) => a - b).slice(0, Math.ceil(known.length * 0.98)));
    const y = (v) => top + ROOM.curve * (0.5 - Math.log2(v) / (2 * reach * 1.08));
    g.fillStyle = fore; g.textAlign = "right";
    for (const v of [2 ** -reach, 1, 2 ** reach]) g.fillText(times(v), ROOM.left - 6, y(v));
    g.strokeStyle = faint; g.setLineDash([4, 3]); g.beginPath(); g.moveTo(ROOM.left, y(1)); g.lineTo(ROOM.left + w, y(1)); g.stroke(); g.setLineDash([]);
    g.save(); g.beginPath(); g.rect(ROOM.left, top, w, ROOM.curve); g.clip(); g.strokeStyle = "#0072b2"; g.lineWidth = 1.6; g.beginPath();
    let open = false;
    state.curve.forEach((v, k) => {
      if (!(v > 0)) { open = false; return; }
      const x = toX(state.shown.start + (k + 0.5) * state.shown.width);
      if (open) g.lineTo(x, y(v)); else g.moveTo(x, y(v));
      open = true;
    });
    g.stroke(); g.restore();
    g.fillStyle = fore; g.textAlign = "center";
    for (const at of ticks) g.fillText(at.toLocaleString("en"), toX(at + origin), top + ROOM.curve + 11);
    g.fillStyle = faint; g.textAlign = "left"; g.fillText("ratio of the sums over the rows shown", ROOM.left + 2, top - 8);
  }

  function describe() {
    const { view, rows, all_rows, tokens, unusable } = state.about;
    canvas.setAttribute("aria-label", `Heatmap of e(${view.numerator}) over e(${view.denominator}): ${rows} of ${all_rows} problems, ${state.about.columns} token positions. ` +
      "Arrow keys move over tokens, plus and minus zoom, Home shows all" + (how.offline ? "." : ", N and P go to the next and the previous large error.") + ` ${state.about.caption}`);
    const bin = state.shown ? (state.shown.width > 1 ? ` A cell is ${state.shown.width} tokens: the ratio of sums.` : " A cell is a token.") : "";
    const group = state.shown && state.shown.group > 1 ? ` A row is ${state.shown.group} problems.` : "";
    const odd = [unusable ? ` ${unusable.toLocaleString("en")} tokens have no finite error (pink) and are in no sum.` : "", ...(state.about.notes ?? [])].join(" ");
    tell(rows ? `${rows} of ${all_rows} problems, ${tokens.toLocaleString("en")} tokens.${bin}${group}${odd}` : "No problem is left by the filter by answers.");
  }

  function buildControls() {
    const { choices, view, limit, lacking } = state.about;
    const selects = Object.entries(WORDS).filter(([name]) => choices[name] && choices[name].length > 1).map(([name, words]) => {
      const select = make("select", { "aria-label": words, "data-name": name, onchange: quietly(() => choose({ [name]: select.value })) });
      for (const value of choices[name]) select.append(make("option", { value, text: value }));
      if (name === "order") for (const value of lacking) select.append(make("option", { value, disabled: "", text: `${value} (not known here)` }));
      select.value = view[name];
      return make("label", {}, words, select);
    });
    const number = make("input", { type: "number", min: 0.1, max: 40, step: 0.25, value: (+limit).toFixed(2), "aria-label": "colours end at, powers of two", "data-name": "limit",
      onchange: quietly(() => choose({ limit: Math.min(40, Math.max(0, +number.value || 0)) })) });
    const button = (text, label, work) => make("button", { type: "button", text, "aria-label": label, title: label, onclick: quietly(work) });
    controls.replaceChildren(...selects, make("label", {}, "colours to 2^", number),
      button("all", "show everything", reset), button("+", "zoom in", () => zoom(0.5)), button("−", "zoom out", () => zoom(2)),
      ...(how.offline ? [] : [button("◂ large", "previous large error", () => jump(-1)), button("large ▸", "next large error", () => jump(1))]),
      button("PNG", "save the picture as PNG", savePng), button("SVG", "save the picture as SVG", saveSvg), button("CSV", "save the bins that are seen as CSV", saveCsv),
      ...(how.offline ? [] : [button("Python", "show the Python line that opens this", async () => { [state.about] = await request({ ask: "about" }); tell(state.about.line); })]));
  }

  async function choose(what) {
    const keep = state.about.view.align;
    try { [state.about] = await request({ ask: "choose", ...what }); } catch (error) { buildControls(); return; }
    if (keep !== state.about.view.align || "errors_of" in what) whole();
    state.chosen = null; state.jump = -1; detail.replaceChildren();
    clamp(); buildControls();
    await refresh(); describe();
  }
  async function reset() { whole(); await refresh(); describe(); }
  async function zoom(factor, px = ROOM.left + size().w / 2, py = null, since = performance.now()) {
    const x = fromX(px);
    state.x = state.x.map((edge) => x + (edge - x) * factor);
    if (py !== null) { const y = fromY(py); state.y = state.y.map((edge) => y + (edge - y) * factor); }
    clamp(); await refresh(since); describe();
  }
  async function jump(step) {
    turn++;
    const [data] = await request({ ask: "jump", number: Math.max(0, state.jump + step), live: true });
    state.jump = data.jump;
    await show(data, `Large error ${data.jump + 1} of ${data.jumps}: `);
  }
  // The cursor moves at once; of what was asked meanwhile only the last answer counts. What models say comes when it rests.
  let turn = 0, resting = null;
  async function pick(place, column) {
    const mine = ++turn;
    state.chosen = { ...state.chosen, place, column };
    draw();
    const [data] = await request({ ask: "token", place, column, live: false });
    if (mine !== turn) return;
    if (data.nothing) { state.chosen = null; draw(); tell("There is no token here."); return; }
    const kept = detail.querySelector(".rvx-live");
    await show(data, "", kept);
    if (how.offline) return;
    clearTimeout(resting);
    resting = setTimeout(quietly(async () => {
      const [whole] = await request({ ask: "token", place, column, live: true });
      if (mine === turn && !whole.nothing) detail.querySelector(".rvx-live")?.replaceWith(beside(whole));
    }), 200);
  }
  async function show(data, before = "", live = null) {
    state.chosen = data;
    const inside = (v, [a, b]) => v >= a && v < b;
    if (!inside(data.column, state.x)) { const span = state.x[1] - state.x[0]; state.x = [data.column - span / 2, data.column + span / 2]; clamp(); await refresh(); }
    if (!inside(data.place, state.y)) { const span = state.y[1] - state.y[0]; state.y = [data.place - span / 2, data.place + span / 2]; clamp(); await refresh(); }
    draw();
    const token = visible(data.texts[data.at]), phase = data.position < data.t_in ? "prompt" : "thought and answer";
    tell(`${before}${data.problem}, position ${data.position} (${phase}), token ${token}: ${said(code(data.ratios[data.at], data))}, ` +
      `e(${state.about.view.numerator}) ${short(data.numerator)}, e(${state.about.view.denominator}) ${short(data.denominator)}`);
    detail.replaceChildren(strip(data), live ?? beside(data));
    const here = detail.querySelector(".here");
    if (here) here.parentElement.scrollTop = here.offsetTop - here.parentElement.offsetTop - 90;
  }
  const code = (ratio) => (ratio === null ? NaN : ratio);
  const short = (value) => (value === null ? "not finite" : value.toPrecision(4));

  function strip(data) {
    const box = make("div", { class: "rvx-strip", dir: "ltr", "aria-label": "tokens around the chosen one" }), { view, limit } = state.about;
    data.texts.forEach((text, k) => {
      const position = data.from + k, colour = colourOf(data.ratios[k], view, limit);
      if (position === data.t_in) box.append(make("span", { class: "end", title: "end of the prompt" }));
      const span = make("bdi", { text: visible(text), title: `position ${position}: ${said(code(data.ratios[k]))}`, class: k === data.at ? "here" : "",
        onclick: quietly(() => pick(data.place, data.column + k - data.at)) });
      span.style.background = css(colour); span.style.color = ink(colour);
      box.append(span, text.endsWith("\n") ? make("br") : make("wbr"));
    });
    return make("div", {}, make("h4", { text: `${data.problem}: the text around position ${data.position}` }), box, make("h4", { text: "Problem" }), make("pre", { dir: "auto", text: data.prompt }),
      data.key ? make("div", { dir: "auto", text: `right answer: ${data.key}` }) : null, answers(data));
  }
  function answers(data) {
    if (!data.answers.length) return null;
    const rows = data.answers.map((one) => make("tr", {}, make("td", { text: one.model }), make("td", { text: one.correct ? "✓ right" : "✗ wrong" }),
      make("td", {}, make("bdi", { text: clip(visible(one.answer), 200) })), make("td", { text: one.tokens === null ? "" : `${one.tokens} tokens` })));
    return make("div", {}, make("h4", { text: "Answers" }), make("table", {}, ...rows));
  }
  function beside(data) {
    const box = make("div", { class: "rvx-live" }), live = data.live;
    if (live.reason === "not asked for") { box.append(make("h4", { text: "Next tokens" }), make("div", { text: "…" })); return box; }
    if (live.reason) {
      box.append(make("h4", { text: "Next tokens" }), make("div", { text: live.reason }));
      if (live.loadable) box.append(make("button", { type: "button", text: "load the models", onclick: quietly(async () => { await request({ ask: "load" }); await pick(data.place, data.column); }) }));
      return box;
    }
    for (const [model, best] of Object.entries(live.next)) {
      const rows = best.map((one) => {
        const bar = make("i"); bar.style.width = `${Math.max(1, 100 * one.probability)}%`;
        return make("tr", {}, make("td", {}, make("bdi", { text: one.text.trim() ? visible(one.text) : visible(one.text).replaceAll("\u00a0", "␣") })), make("td", { class: "bar" }, bar), make("td", { text: one.probability < 0.0005 ? "<0.1 %" : `${(100 * one.probability).toFixed(1)} %` }));
      });
      box.append(make("h4", { text: `Next after this token: ${model}` }), make("table", { class: "rvx-bars" }, ...rows));
    }
    const names = Object.keys(live.layers);
    if (names.length) {
      const head = make("tr", {}, make("th", { text: "block" }), ...names.map((name) => make("th", { text: name })));
      const rows = live.layers[names[0]].map((_, block) => make("tr", {}, make("td", { text: String(block) }), ...names.map((name) => make("td", { text: live.layers[name][block].toPrecision(3) }))));
      box.append(make("h4", { text: "Relative error after each block, at this token" }), make("table", {}, head, ...rows));
    }
    return box;
  }

  const save = (blob, name) => { const link = make("a", { href: URL.createObjectURL(blob), download: name }); link.click(); setTimeout(() => URL.revokeObjectURL(link.href), 5000); };
  function picture(ratio = 2) { const copy = document.createElement("canvas"); draw(copy, ratio); return copy; }
  function savePng() { picture().toBlob((blob) => save(blob, "racviz.png")); }
  function svg() {
    const width = canvas.clientWidth, about = state.about, drawn = new SvgContext(), target = { getContext: () => drawn, width, height: HEIGHT };
    draw(target, 1);
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${HEIGHT}" viewBox="0 0 ${width} ${HEIGHT}" font-size="11" ` +
      `font-family="Inter, Segoe UI, Roboto, Arial, sans-serif"><title>${plain(`e(${about.view.numerator}) / e(${about.view.denominator})`)}</title>${drawn.parts.join("")}</svg>`;
  }
  function saveSvg() { save(new Blob([svg()], { type: "image/svg+xml" }), "racviz.svg"); }
  function saveCsv() {
    const s = state.shown, [rows, columns] = s.shape, lines = ["row,first_column,columns,ratio"];
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) {
      const value = state.ratio[r * columns + c];
      if (value === value) lines.push(`${s.first + r * s.group},${s.start + c * s.width},${s.width},${value >= 0 ? value : JSON.stringify(said(value))}`);
    }
    save(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }), "racviz.csv");
  }

  let drag = null;
  const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const inHeat = (px, py) => px >= ROOM.left && px < ROOM.left + size().w && py >= ROOM.top && py < ROOM.top + ROOM.heat;
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const [px, py] = at(event), factor = Math.exp(Math.max(-1, Math.min(1, event.deltaY / 240)));
    quietly(zoom)(factor, px, event.shiftKey || event.altKey ? py : null, performance.now());
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => { const [px, py] = at(event); canvas.focus(); canvas.setPointerCapture(event.pointerId); drag = { px, py, x: [...state.x], y: [...state.y], moved: false }; });
  canvas.addEventListener("pointermove", (event) => {
    const [px, py] = at(event);
    if (drag) {
      if (Math.hypot(px - drag.px, py - drag.py) > 4) drag.moved = true;
      if (!drag.moved) return;
      const dx = ((px - drag.px) / size().w) * (drag.x[1] - drag.x[0]), dy = ((py - drag.py) / ROOM.heat) * (drag.y[1] - drag.y[0]);
      state.x = drag.x.map((edge) => edge - dx); state.y = drag.y.map((edge) => edge - dy);
      clamp(); quietly(refresh)(performance.now());
    } else hover(px, py);
  });
  canvas.addEventListener("pointerup", (event) => {
    const [px, py] = at(event), was = drag;
    drag = null;
    if (was && !was.moved && inHeat(px, py) && state.about.rows) quietly(pick)(Math.min(state.about.rows - 1, Math.floor(fromY(py))), Math.floor(fromX(px)));
    else if (was && was.moved) describe();
  });
  canvas.addEventListener("pointerleave", () => { tip.style.display = "none"; });
  canvas.addEventListener("dblclick", quietly(reset));
  function hover(px, py) {
    const s = state.shown;
    if (!s || !inHeat(px, py)) { tip.style.display = "none"; return; }
    const column = Math.floor((fromX(px) - s.start) / s.width), row = Math.floor((fromY(py) - s.first) / s.group), [rows, columns] = s.shape;
    if (column < 0 || row < 0 || column >= columns || row >= rows) { tip.style.display = "none"; return; }
    const first = s.start + column * s.width - state.about.origin, after = state.about.view.align === "boundary" ? " from the end of the prompt" : "";
    const span = (s.width > 1 ? `positions ${first} to ${first + s.width - 1}` : `position ${first}`) + after;
    const who = s.problems[row] ?? (s.group > 1 ? `problems ${s.first + row * s.group} to ${Math.min(state.about.rows, s.first + (row + 1) * s.group) - 1}` : `problem ${s.first + row}`);
    tip.textContent = `${who}\n${span}\n${said(state.ratio[row * columns + column])}`;
    tip.style.display = "block";
    tip.style.left = `${Math.min(px + 16, canvas.clientWidth - 180)}px`; tip.style.top = `${canvas.offsetTop + py + 16}px`;
  }
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }, step = steps[event.key];
    const work = step && state.about.rows ? () => {
      const c = state.chosen ?? { place: Math.floor(state.y[0]), column: Math.floor(state.x[0]) };
      return pick(Math.min(state.about.rows - 1, Math.max(0, c.place + step[0])), Math.max(0, c.column + step[1] * (event.shiftKey ? 10 : 1)));
    } : { "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), Home: reset, n: () => jump(1), p: () => jump(-1), Enter: () => state.chosen && pick(state.chosen.place, state.chosen.column) }[event.key];
    if (!work || event.ctrlKey || event.metaKey) return;
    event.preventDefault(); event.stopPropagation();
    quietly(work)();
  });

  try { [state.about] = await request({ ask: "about" }); } catch (error) { return { state }; }
  whole();
  const first = how.view ?? state.about.window ?? {};
  if (first.x) state.x = first.x;
  if (first.y) state.y = first.y;
  clamp(); buildControls(); draw();
  let wide = canvas.clientWidth; // 0 in a page that is not laid out yet
  await refresh(); describe();
  const watch = new ResizeObserver(() => { if (canvas.clientWidth !== wide) { wide = canvas.clientWidth; if (wide) quietly(refresh)(); } });
  watch.observe(canvas);
  const themes = new MutationObserver(() => setTimeout(draw, 300)); // when the theme's sheet is there
  themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class"] });
  root.rvx = { state, zoom, jump, pick, choose, reset, svg, picture, refresh };
  root.dataset.ready = "1";
  return { state, end: () => { watch.disconnect(); themes.disconnect(); } };
}

// In a notebook: requests go to the kernel as messages with a number, answers come back with it.
async function render({ model, el }) {
  const waiting = new Map();
  let number = 0;
  const id = Math.random().toString(36).slice(2);
  const heard = (answer, buffers) => {
    if (!answer || answer.view !== id) return;
    const done = waiting.get(answer.number);
    waiting.delete(answer.number);
    if (done) done([answer.data, buffers.map((each) => (each.buffer ? each.buffer.slice(each.byteOffset, each.byteOffset + each.byteLength) : each))]);
  };
  model.on("msg:custom", heard);
  const ask = (what) => new Promise((done) => { waiting.set(++number, done); model.send({ ...what, number, view: id }); });
  const mounted = await mount(el, ask);
  return () => { model.off("msg:custom", heard); mounted.end?.(); };
}
export default { render };
