// Tools: from pointer and keys to changes of the mask. Tells its owner through callbacks what happened.

import { css } from "./colors.js";
import { History } from "./history.js";
import { IGNORE, regionAt } from "./mask.js";
import { cornerAt, edgeAt, Outline } from "./outline.js";

/** Reach of a corner and of an edge, in CSS pixels. */
const CORNER = 9;
const EDGE = 6;
const SHAKE = 3;

export class Editor {
  constructor(stage, { changed, say, usedDraft }) {
    this.usedDraft = usedDraft;
    this.stage = stage;
    this.changed = changed;
    this.say = say;
    this.tool = "polygon";
    this.label = 0;
    this.radius = 10;
    this.colors = [];
    this.seen = new Set();
    this.#forget();
    stage.extra = (context) => this.#sketch(context);
    const { canvas } = stage;
    canvas.addEventListener("pointerdown", (e) => this.#down(e));
    canvas.addEventListener("pointermove", (e) => this.#move(e));
    canvas.addEventListener("pointerup", (e) => this.#up(e));
    canvas.addEventListener("pointercancel", (e) => this.#up(e));
    canvas.addEventListener("pointerleave", () => this.#hover(null));
    canvas.addEventListener("dblclick", () => this.closePolygon());
    canvas.addEventListener("contextmenu", (e) => e.preventDefault());
    canvas.addEventListener("wheel", (e) => {
      e.preventDefault();
      stage.zoom(Math.pow(1.0015, -e.deltaY), [e.offsetX, e.offsetY]);
    }, { passive: false });
  }

  #forget() {
    this.mask = null;
    this.draft = null;
    this.history = new History();
    this.outline = new Outline();
    this.points = [];
    this.hover = null;
    this.cursor = null;
    this.penDown = false;
    this.last = null;
    this.panning = null;
  }

  /** Begin with a tile's mask and draft (Uint8Array or null). */
  begin(mask, draft) {
    this.#forget();
    this.mask = mask;
    this.draft = draft;
    this.repaint();
  }

  end() {
    this.#forget();
  }

  repaint() {
    if (this.mask) this.stage.paint(this.mask.data, this.draft, this.colors);
  }

  choose(tool) {
    this.outline = new Outline();
    this.points = [];
    this.penDown = false;
    this.last = null;
    this.tool = tool;
    this.stage.canvas.classList.toggle("pass", tool === "pan");
    this.stage.draw();
  }

  /** One step that undo takes back: `change` returns how many pixels it changed. */
  #step(change) {
    if (!this.mask) return 0;
    this.history.push(this.mask.data);
    const count = change(this.mask);
    if (count === 0) this.history.drop();
    this.repaint();
    if (count > 0) this.changed();
    return count;
  }

  undo() {
    if (this.outline.length > 0) {
      this.outline.undo();
      this.stage.draw();
      return;
    }
    this.#restore(this.mask && this.history.undo(this.mask.data));
  }

  redo() {
    this.#restore(this.mask && this.history.redo(this.mask.data));
  }

  #restore(data) {
    if (!data) return;
    this.mask.data = data;
    this.repaint();
    this.changed();
  }

  fillRest() {
    this.#step((mask) => mask.fillRest(this.label));
  }

  clear() {
    this.#step((mask) => mask.clear());
  }

  /** Another drawing of the tile in place of this one, as a step. */
  replace(data) {
    this.#step((mask) => {
      const changed = data.filter((label, i) => label !== mask.data[i]).length;
      mask.data = data;
      return changed;
    });
  }

  acceptAll() {
    if (!this.draft) return this.say("there is no draft for this tile");
    this.usedDraft();
    if (this.#step((mask) => mask.accept(this.draft, this.seen)) === 0) this.say("nothing of the draft is left to accept");
  }

  #acceptAt([x, y]) {
    if (!this.draft) return this.say("there is no draft for this tile");
    if (!this.mask.contains(x, y)) return;
    const label = this.draft[Math.floor(y) * this.mask.size + Math.floor(x)];
    if (!this.seen.has(label)) return this.say("this class is found from words; it is not drawn");
    this.usedDraft();
    const region = regionAt(this.draft, this.mask.size, x, y);
    this.#step((mask) => mask.accept(this.draft, this.seen, region));
  }

  get #paintLabel() {
    return this.tool === "erase" ? IGNORE : this.label;
  }

  /** Put the polygon, or the freehand line, into the mask; whether there was one. */
  closePolygon() {
    const points = this.tool === "polygon" ? this.outline.points : this.points;
    this.outline = new Outline();
    this.points = [];
    if (points.length >= 3) this.#step((mask) => mask.polygon(points, this.label));
    this.stage.draw();
    return points.length > 0;
  }

  giveUp() {
    this.outline = new Outline();
    this.points = [];
    this.penDown = false;
    this.stage.draw();
  }

  /* Pointer */

  #at(event) {
    return this.stage.toMask(event.offsetX, event.offsetY);
  }

  #down(event) {
    if (!this.mask) return;
    this.stage.canvas.setPointerCapture(event.pointerId);
    if (event.button !== 0) {
      this.panning = [event.offsetX, event.offsetY];
      return;
    }
    this.cursor = null;
    this.grip = [event.offsetX, event.offsetY];
    const point = this.#at(event);
    if (this.tool === "accept") this.#acceptAt(point);
    if (this.tool === "polygon") this.#corner(point, [event.offsetX, event.offsetY]);
    if (this.tool === "freehand") this.points = [point];
    if (this.tool === "brush" || this.tool === "erase") this.#startStroke(point);
  }

  /** Take hold of a corner, insert one in an edge, or add one at the end. `screen` is where on the canvas. */
  #corner(point, screen) {
    const { outline } = this;
    const places = outline.points.map((p) => this.stage.toScreen(p));
    const corner = cornerAt(places, screen, CORNER);
    const edge = edgeAt(places, screen, EDGE);
    if (corner >= 0) outline.hold(corner);
    else if (edge >= 0) outline.insert(edge, point);
    else outline.add(point);
    this.stage.draw();
  }

  /** Let go of a corner; the first one, taken and not moved, closes the polygon. */
  #letGo() {
    const { outline } = this;
    const first = outline.held === 0;
    if (!outline.release() && first && outline.length >= 3) this.closePolygon();
    this.stage.draw();
  }

  /** Delete the corner under the pointer or the cursor; whether there was one. */
  deleteCorner() {
    const here = this.cursor ?? this.hover;
    if (!here) return false;
    const places = this.outline.points.map((p) => this.stage.toScreen(p));
    const corner = cornerAt(places, this.stage.toScreen(here), CORNER);
    if (corner < 0) return false;
    this.outline.delete(corner);
    this.stage.draw();
    return true;
  }

  #startStroke(point) {
    this.history.push(this.mask.data);
    this.last = point;
    this.strokeCount = this.mask.stroke(point, point, this.radius, this.#paintLabel);
    this.repaint();
  }

  #endStroke() {
    if (this.last === null) return;
    this.last = null;
    if (this.strokeCount === 0) this.history.drop();
    else this.changed();
  }

  #strokeTo(point) {
    this.strokeCount += this.mask.stroke(this.last, point, this.radius, this.#paintLabel);
    this.last = point;
    this.repaint();
  }

  #move(event) {
    if (!this.mask) return;
    if (this.panning) {
      this.stage.pan(event.offsetX - this.panning[0], event.offsetY - this.panning[1]);
      this.panning = [event.offsetX, event.offsetY];
      return;
    }
    const steps = event.getCoalescedEvents?.() ?? [];
    for (const step of steps.length > 0 ? steps : [event]) {
      const point = this.#at(step);
      if (this.last !== null) this.#strokeTo(point);
      else if (this.outline.held >= 0 && this.#pulled(step)) this.outline.move(point);
      else if (this.tool === "freehand" && this.points.length > 0) this.points.push(point);
    }
    this.#hover(this.#at(event));
  }

  /** Whether a corner is drawn along: a hand that shakes while it clicks moves none. */
  #pulled({ offsetX, offsetY, buttons }) {
    const far = Math.hypot(offsetX - this.grip[0], offsetY - this.grip[1]) > SHAKE;
    return (buttons & 1) === 1 && (this.outline.moved || far);
  }

  #hover(point) {
    this.hover = point;
    this.stage.draw();
  }

  #up() {
    this.panning = null;
    if (!this.mask || this.cursor) return;
    if (this.outline.held >= 0) this.#letGo();
    if (this.tool === "freehand" && this.points.length > 0) this.closePolygon();
    this.#endStroke();
  }

  /* Keyboard cursor */

  moveCursor(dx, dy) {
    if (!this.mask) return;
    const { inner } = this.mask;
    const [x, y] = this.cursor ?? [inner.x + inner.width / 2, inner.y + inner.height / 2];
    this.cursor = [
      Math.min(inner.x + inner.width - 0.5, Math.max(inner.x + 0.5, x + dx)),
      Math.min(inner.y + inner.height - 0.5, Math.max(inner.y + 0.5, y + dy)),
    ];
    if (this.last !== null) this.#strokeTo(this.cursor);
    if (this.outline.held >= 0) this.outline.move([...this.cursor]);
    if (this.penDown && this.tool === "freehand") this.points.push(this.cursor);
    this.stage.draw();
  }

  /** Space: what a press of the pointer at the cursor would do. */
  press() {
    if (!this.mask) return;
    if (!this.cursor) this.moveCursor(0, 0);
    if (this.tool === "accept") this.#acceptAt(this.cursor);
    if (this.tool === "polygon" && this.outline.held >= 0) this.#letGo();
    else if (this.tool === "polygon") this.#corner([...this.cursor], this.stage.toScreen(this.cursor));
    if (["brush", "erase", "freehand"].includes(this.tool)) this.#togglePen();
  }

  #togglePen() {
    this.penDown = !this.penDown;
    if (this.tool === "freehand") {
      if (this.penDown) this.points = [[...this.cursor]];
      else this.closePolygon();
    } else if (this.penDown) this.#startStroke([...this.cursor]);
    else this.#endStroke();
  }

  /* What is not in the mask yet */

  #sketch(context) {
    const color = css(this.colors[this.label] ?? [255, 255, 255]);
    const here = this.cursor ?? this.hover;
    if (this.points.length > 0) line(context, this.points.map((p) => this.stage.toScreen(p)), color);
    if (this.outline.length > 0) this.#corners(context, color, here);
    if (!here || !this.mask) return;
    const [x, y] = this.stage.toScreen(here);
    if (this.tool === "brush" || this.tool === "erase") {
      ring(context, x, y, Math.max(1, this.radius * this.stage.scale), this.tool === "erase" ? "#ffffff" : color);
    }
    if (this.cursor) cross(context, x, y);
  }

  /** The polygon so far: filled corners can be taken, the ring closes it. */
  #corners(context, color, here) {
    const places = this.outline.points.map((p) => this.stage.toScreen(p));
    const at = here && this.stage.toScreen(here);
    const near = at ? cornerAt(places, at, CORNER) : -1;
    const free = at && this.outline.held < 0 && near < 0 && edgeAt(places, at, EDGE) < 0;
    line(context, free ? [...places, at] : places, color);
    if (places.length > 2) line(context, [places.at(-1), places[0]], color, [4, 4]);
    places.forEach(([x, y], i) => dot(context, x, y, i === near || i === this.outline.held ? 6 : 4, color));
    ring(context, ...places[0], 8, color);
  }
}

function line(context, points, color, dashes = []) {
  context.setLineDash(dashes);
  for (const [width, style] of [[4, "#000000"], [2, color]]) {
    context.lineWidth = width;
    context.strokeStyle = style;
    context.beginPath();
    points.forEach(([x, y], i) => (i === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
    context.stroke();
  }
  context.setLineDash([]);
}

function dot(context, x, y, radius, color) {
  context.fillStyle = color;
  context.strokeStyle = "#000000";
  context.lineWidth = 1.5;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
  context.stroke();
}

function ring(context, x, y, radius, color) {
  for (const [width, style] of [[3, "#000000"], [1.5, color]]) {
    context.lineWidth = width;
    context.strokeStyle = style;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.stroke();
  }
}

function cross(context, x, y) {
  for (const [width, style] of [[4, "#000000"], [2, "#ffffff"]]) {
    context.lineWidth = width;
    context.strokeStyle = style;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + dx * 3, y + dy * 3);
      context.lineTo(x + dx * 11, y + dy * 11);
    }
    context.stroke();
  }
}
