// A canvas context that writes SVG: axes, text and curves as such, the cells as one image.

export const escaped = (text) =>
  String(text).replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);

/** As much of CanvasRenderingContext2D as `draw` needs. */
export class SvgContext {
  parts = [];
  path = "";
  stack = [];
  turned = "";
  clipped = "";
  dash = [];
  ids = 0;

  put(text) {
    const turn = this.turned ? ` transform="${this.turned}"` : "";
    if (!this.clipped) {
      this.parts.push(text.replace(/(\/?>)/, `${turn}$1`));
      return;
    }
    const inner = text.replace("/>", `${turn}/>`);
    this.parts.push(`<g clip-path="url(#${this.clipped})">${inner}</g>`);
  }

  setTransform() {}

  setLineDash(dash) {
    this.dash = dash;
  }

  save() {
    this.stack.push([this.turned, this.clipped]);
  }

  restore() {
    [this.turned, this.clipped] = this.stack.pop();
  }

  translate(x, y) {
    this.turned += `translate(${x} ${y})`;
  }

  rotate(angle) {
    this.turned += `rotate(${(angle * 180) / Math.PI})`;
  }

  beginPath() {
    this.path = "";
    this.box = null;
  }

  rect(x, y, w, h) {
    this.box = [x, y, w, h];
  }

  clip() {
    const id = `c${++this.ids}`;
    const [x, y, w, h] = this.box;
    const rect = `<rect x="${x}" y="${y}" width="${w}" height="${h}"/>`;
    this.parts.push(`<clipPath id="${id}">${rect}</clipPath>`);
    this.clipped = id;
  }

  moveTo(x, y) {
    this.path += `M${x.toFixed(2)} ${y.toFixed(2)}`;
  }

  lineTo(x, y) {
    this.path += `${this.path ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`;
  }

  stroke() {
    const line = `stroke="${this.strokeStyle}" stroke-width="${this.lineWidth}"`;
    const dash = `stroke-dasharray="${this.dash.join(" ")}"`;
    this.put(`<path d="${this.path}" fill="none" ${line} ${dash}/>`);
  }

  fillRect(x, y, w, h) {
    const fill = this.fillStyle.url ?? this.fillStyle;
    this.put(`<rect x="${x}" y="${y}" width="${w}" height="${h}" fill="${fill}"/>`);
  }

  strokeRect(x, y, w, h) {
    const line = `stroke="${this.strokeStyle}" stroke-width="${this.lineWidth}"`;
    this.put(`<rect x="${x}" y="${y}" width="${w}" height="${h}" fill="none" ${line}/>`);
  }

  fillText(text, x, y) {
    const anchor = { left: "start", right: "end", center: "middle" }[this.textAlign];
    const place = `x="${x.toFixed(2)}" y="${y.toFixed(2)}" dominant-baseline="central"`;
    const look = `text-anchor="${anchor}" fill="${this.fillStyle}"`;
    this.put(`<text ${place} ${look}>${escaped(text)}</text>`);
  }

  createLinearGradient(x1, y1, x2, y2) {
    const id = `g${++this.ids}`;
    const stops = [];
    const at = this.parts.length;
    const line = `gradientUnits="userSpaceOnUse" x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}"`;
    this.parts.push("");
    const addColorStop = (place, colour) => {
      stops.push(`<stop offset="${place}" stop-color="${colour}"/>`);
      this.parts[at] = `<linearGradient id="${id}" ${line}>${stops.join("")}</linearGradient>`;
    };
    return { url: `url(#${id})`, addColorStop };
  }

  drawImage(image, x, y, w, h) {
    const copy = document.createElement("canvas");
    copy.width = image.width;
    copy.height = image.height;
    copy.getContext("2d").drawImage(image, 0, 0);
    const place = `x="${x}" y="${y}" width="${w}" height="${h}" preserveAspectRatio="none"`;
    const look = 'style="image-rendering:pixelated"';
    this.put(`<image ${place} ${look} href="${copy.toDataURL("image/png")}"/>`);
  }
}
