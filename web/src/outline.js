// The polygon that is being drawn: corners can be added, moved, inserted and deleted until it goes into the mask.

/** Index of the corner within `near` of a place, -1 for none; all in the same units. */
export function cornerAt(points, [x, y], near) {
  let best = -1;
  let least = near;
  points.forEach(([px, py], i) => {
    const distance = Math.hypot(px - x, py - y);
    if (distance < least) [best, least] = [i, distance];
  });
  return best;
}

/** Index of the corner after which a place within `near` of an edge would be inserted, -1 for none. The edge that would
 * close the polygon counts only where it is drawn: with `closed`. */
export function edgeAt(points, [x, y], near, closed = false) {
  let best = -1;
  let least = near;
  for (let i = 0; i < points.length - (closed ? 0 : 1); i++) {
    const [ax, ay] = points[i];
    const [bx, by] = points[(i + 1) % points.length];
    const length = (bx - ax) ** 2 + (by - ay) ** 2;
    if (length === 0) continue;
    const along = Math.max(0, Math.min(1, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length));
    const distance = Math.hypot(ax + along * (bx - ax) - x, ay + along * (by - ay) - y);
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

/** Corners with their own undo, and at most one that is held. */
export class Outline {
  #past = [];

  constructor() {
    this.points = [];
    this.held = -1;
  }

  get length() {
    return this.points.length;
  }

  #remember() {
    this.#past.push(this.points.map((p) => [...p]));
  }

  add(point) {
    const last = this.points.at(-1);
    if (last && last[0] === point[0] && last[1] === point[1]) return;
    this.#remember();
    this.points.push(point);
  }

  /** Take hold of a corner, to move it. */
  hold(index) {
    this.#remember();
    this.held = index;
    this.moved = false;
  }

  /** Insert a corner behind another one and hold it. */
  insert(index, point) {
    this.hold(index + 1);
    this.points.splice(index + 1, 0, point);
    this.moved = true;
  }

  move(point) {
    this.points[this.held] = point;
    this.moved = true;
  }

  /** Let go; whether the corner was moved. */
  release() {
    if (!this.moved) this.#past.pop();
    this.held = -1;
    return this.moved;
  }

  delete(index) {
    this.#remember();
    this.points.splice(index, 1);
    this.held = -1;
  }

  undo() {
    this.held = -1;
    this.points = this.#past.pop() ?? [];
  }
}
