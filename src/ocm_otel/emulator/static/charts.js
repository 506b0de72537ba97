// Small charts as SVG: bars and lines over pieces of time, with a cursor that the pointer and the arrow keys move,
// and a line of words below that says what is there.

import { count, many, plain, tick, width as pieceWidth } from "./words.js";

const NAMESPACE = "http://www.w3.org/2000/svg";
const LEFT = 36;
const BOTTOM = 18;
const TOP = 6;
const FEWEST = 12; // pieces of time on an axis: fewer would be blocks, not bars

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// The next round number, so that an axis ends at something that can be read.
function ceiling(value) {
  if (value <= 4) return Math.max(value, 1);
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((step) => step * power).find((top) => top >= value);
}

const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export class TimeChart {
  // element: where it is drawn; label: what it shows; series: [{ key, name, shape: "bar"|"line", style }].
  constructor(element, label, series, height) {
    Object.assign(this, { element, label, series, height, pieces: [], width: 1, at: null });
    this.drawing = svg("svg", { "aria-hidden": "true" });
    this.legend = document.createElement("p");
    this.legend.className = "legend";
    element.replaceChildren(this.drawing, this.legend);
    element.addEventListener("pointermove", (event) => this.point(event));
    element.addEventListener("pointerleave", () => this.select(null));
    element.addEventListener("blur", () => this.select(null));
    element.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(element);
  }

  show(pieces, width) {
    const rest = this.at !== null && this.pieces[this.at] ? this.pieces[this.at].start : null;
    Object.assign(this, { pieces, width });
    const found = pieces.findIndex((piece) => piece.start === rest);
    this.at = found < 0 ? null : found;
    const sums = this.series.filter((one) => one.sum).map((one) => many(this.total(one.key), one.name.toLowerCase(), one.name.toLowerCase()));
    const said = pieces.length ? `${sums.join(", ")} in ${many(pieces.length, "piece")} of ${pieceWidth(width)}` : "nothing yet";
    this.element.setAttribute("aria-label", `${this.label}: ${said}. The arrow keys read it piece by piece.`);
    this.draw();
  }

  total(key) {
    return this.pieces.reduce((sum, piece) => sum + piece[key], 0);
  }

  x(index) {
    return LEFT + (index * (this.outer - LEFT)) / Math.max(this.pieces.length, FEWEST);
  }

  draw() {
    this.outer = Math.max(this.element.clientWidth, 120);
    const inner = this.height - BOTTOM - TOP;
    const bars = this.series.filter((one) => one.shape === "bar");
    const lines = this.series.filter((one) => one.shape === "line");
    const heights = this.pieces.map((piece) => Math.max(bars.reduce((sum, one) => sum + piece[one.key], 0), ...lines.map((one) => piece[one.key])));
    const top = ceiling(Math.max(1, ...heights));
    const y = (value) => TOP + inner * (1 - value / top);
    this.drawing.setAttribute("height", this.height);
    this.drawing.setAttribute("viewBox", `0 0 ${this.outer} ${this.height}`);
    this.drawing.replaceChildren(...this.grid(top, y), ...this.axis());
    const step = this.x(1) - this.x(0);
    this.pieces.forEach((piece, index) => {
      let below = 0;
      for (const { key, style } of bars) {
        if (!piece[key]) continue;
        const high = Math.max(y(below) - y(below + piece[key]), 1);
        const box = { x: this.x(index) + step * 0.1, width: Math.max(step * 0.8, 1), y: y(below) - high, height: high, class: `bar ${style}`, rx: 1.5 };
        this.drawing.append(svg("rect", box));
        below += piece[key];
      }
    });
    for (const { key, style } of lines) {
      const points = this.pieces.map((piece, index) => `${this.x(index) + step / 2},${y(piece[key])}`);
      const end = this.pieces.at(-1);
      if (end) this.drawing.append(svg("circle", { cx: this.x(points.length) - step / 2, cy: y(end[key]), r: 3, class: `dot ${style}` }));
      this.drawing.append(svg("polyline", { points: points.join(" "), class: `line ${style}` }));
    }
    this.cursor = svg("rect", { class: "cursor", y: TOP, height: inner, width: Math.max(step, 2), rx: 2, visibility: "hidden" });
    this.drawing.append(this.cursor);
    this.select(this.at);
  }

  grid(top, y) {
    const marks = top <= 4 ? Array.from({ length: top + 1 }, (_, index) => index) : [0, top / 2, top];
    return marks.flatMap((mark) => {
      const text = svg("text", { x: LEFT - 6, y: y(mark) + 4, "text-anchor": "end" });
      text.textContent = short.format(mark);
      return [svg("line", { class: "grid", x1: LEFT, x2: this.outer, y1: y(mark), y2: y(mark) }), text];
    });
  }

  axis() {
    const last = this.pieces.length - 1;
    if (last < 0) return [];
    const spansDays = this.pieces[last].start - this.pieces[0].start >= 64800;
    const fitting = Math.max(2, Math.floor((this.outer - LEFT) / 120));
    const every = Math.max(1, Math.ceil(this.pieces.length / fitting));
    return this.pieces.flatMap((piece, index) => {
      if (index % every || (index && this.x(index) > this.outer - 70)) return [];
      const text = svg("text", { x: this.x(index), y: this.height - 4 });
      text.textContent = tick(piece.start, this.width, spansDays);
      return [text];
    });
  }

  point(event) {
    const step = this.x(1) - this.x(0);
    const index = Math.floor((event.clientX - this.element.getBoundingClientRect().left - LEFT) / step);
    this.select(index >= 0 && index < this.pieces.length ? index : null);
  }

  key(event) {
    const last = this.pieces.length - 1;
    const moves = { ArrowLeft: (this.at ?? last + 1) - 1, ArrowRight: (this.at ?? -1) + 1, Home: 0, End: last };
    if (event.key === "Escape") return this.select(null);
    if (!(event.key in moves) || last < 0) return undefined;
    event.preventDefault();
    return this.select(Math.min(Math.max(moves[event.key], 0), last), true);
  }

  select(index, speak = false) {
    this.at = index;
    if (this.cursor) {
      this.cursor.setAttribute("visibility", index === null ? "hidden" : "visible");
      if (index !== null) this.cursor.setAttribute("x", this.x(index));
    }
    this.legend.setAttribute("aria-live", speak ? "polite" : "off");
    const piece = index === null ? null : this.pieces[index];
    const parts = this.series.map(({ key, name }) => {
      const part = document.createElement("span");
      const swatch = document.createElement("i");
      swatch.className = key;
      part.append(swatch, name);
      if (piece) {
        const value = document.createElement("b");
        value.textContent = ` ${count(piece[key])}`;
        part.append(value);
      }
      return part;
    });
    const when = document.createElement("span");
    if (piece) when.textContent = tick(piece.start, this.width, true);
    else if (this.pieces.length) when.textContent = `each ${this.series[0].shape === "bar" ? "bar" : "point"}: ${pieceWidth(this.width)}`;
    this.legend.replaceChildren(...parts, when);
  }
}

const STEPS = { search: "Searches", click: "Clicks on courses", save: "Saves", completion: "Completions" };

// How much of a whole something is, as a bar.
export function showShare(element, part, all) {
  const share = all ? Math.min(part / all, 1) : 0;
  element.replaceChildren(svg("rect", { width: `${100 * share}%`, height: "100%", rx: 4 }));
}

export function showFunnel(list, steps) {
  const most = Math.max(1, ...steps.map((step) => step.events));
  list.replaceChildren(
    ...steps.map((step, index) => {
      const before = index ? steps[index - 1].events : 0;
      const item = document.createElement("li");
      const what = document.createElement("div");
      what.className = "what";
      const number = document.createElement("b");
      number.textContent = count(step.events);
      what.append(STEPS[step.step] ?? plain(step.step), number);
      const bar = svg("svg", { "aria-hidden": "true" }, svg("rect", { width: `${(100 * step.events) / most}%`, height: "100%", rx: 6 }));
      const note = document.createElement("small");
      const share = before ? `${Math.round((100 * step.events) / before)} % of the step before, ` : "";
      note.textContent = `${share}by ${many(step.people, "person", "people")}`;
      item.append(what, bar, note);
      return item;
    }),
  );
}
