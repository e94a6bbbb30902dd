// The label mask of a tile and everything that changes it. One byte per pixel, row-major; 255 is "not annotated".
// Points are [x, y] in pixels of the mask, (0, 0) the outer corner of the first pixel. Operations change the mask in
// place inside the drawable rectangle only, and return the number of pixels that changed.

export const IGNORE = 255;

/** A mask of size x size pixels of which only `inner` = {x, y, width, height} may be drawn. */
export class Mask {
  constructor(size, inner, data = null) {
    this.size = size;
    this.inner = inner;
    this.data = data ?? new Uint8Array(size * size).fill(IGNORE);
  }

  copy() {
    return new Mask(this.size, this.inner, this.data.slice());
  }

  at(x, y) {
    return this.data[Math.floor(y) * this.size + Math.floor(x)];
  }

  contains(x, y) {
    const { inner } = this;
    return x >= inner.x && y >= inner.y && x < inner.x + inner.width && y < inner.y + inner.height;
  }

  /** Rows and columns of the drawable rectangle that meet the given bounds, ends excluded. */
  #clip(left, top, right, bottom) {
    const { inner } = this;
    return {
      left: Math.max(inner.x, Math.floor(left)),
      top: Math.max(inner.y, Math.floor(top)),
      right: Math.min(inner.x + inner.width, Math.ceil(right)),
      bottom: Math.min(inner.y + inner.height, Math.ceil(bottom)),
    };
  }

  #set(index, label) {
    if (this.data[index] === label) return 0;
    this.data[index] = label;
    return 1;
  }

  /** Fill a polygon: pixels whose centre is inside by the even-odd rule. */
  polygon(points, label) {
    if (points.length < 3) return 0;
    const xs = points.map((p) => p[0]);
    const ys = points.map((p) => p[1]);
    const area = this.#clip(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys));
    let changed = 0;
    for (let row = area.top; row < area.bottom; row++) {
      const cuts = crossings(points, row + 0.5);
      for (let i = 0; i + 1 < cuts.length; i += 2) {
        const start = Math.max(area.left, Math.ceil(cuts[i] - 0.5));
        const end = Math.min(area.right, Math.ceil(cuts[i + 1] - 0.5));
        for (let column = start; column < end; column++) changed += this.#set(row * this.size + column, label);
      }
    }
    return changed;
  }

  /** A round brush drawn along a segment: pixels whose centre is within `radius` of it. */
  stroke([ax, ay], [bx, by], radius, label) {
    const area = this.#clip(
      Math.min(ax, bx) - radius, Math.min(ay, by) - radius,
      Math.max(ax, bx) + radius, Math.max(ay, by) + radius,
    );
    const [dx, dy] = [bx - ax, by - ay];
    const length = dx * dx + dy * dy;
    let changed = 0;
    for (let row = area.top; row < area.bottom; row++) {
      for (let column = area.left; column < area.right; column++) {
        const [px, py] = [column + 0.5 - ax, row + 0.5 - ay];
        const t = length === 0 ? 0 : Math.min(1, Math.max(0, (px * dx + py * dy) / length));
        const [ex, ey] = [px - t * dx, py - t * dy];
        if (ex * ex + ey * ey <= radius * radius) changed += this.#set(row * this.size + column, label);
      }
    }
    return changed;
  }

  /** Everything that is not annotated becomes `label`. */
  fillRest(label) {
    return this.#each((index) => (this.data[index] === IGNORE ? this.#set(index, label) : 0));
  }

  /** Take over what `wanted` (Uint8Array) says wherever nothing was drawn and `allowed` holds the label. */
  accept(wanted, allowed, region = null) {
    return this.#each((index) => {
      const take = this.data[index] === IGNORE && allowed.has(wanted[index]) && (region === null || region[index]);
      return take ? this.#set(index, wanted[index]) : 0;
    });
  }

  clear() {
    return this.#each((index) => this.#set(index, IGNORE));
  }

  /** Pixels per label. */
  counts() {
    const counts = new Map();
    this.#each((index) => {
      const label = this.data[index];
      counts.set(label, (counts.get(label) ?? 0) + 1);
      return 0;
    });
    return counts;
  }

  #each(change) {
    const { inner, size } = this;
    let changed = 0;
    for (let row = inner.y; row < inner.y + inner.height; row++) {
      for (let column = inner.x; column < inner.x + inner.width; column++) changed += change(row * size + column);
    }
    return changed;
  }
}

/** Where the edges of a closed polygon cross a horizontal line, ascending. */
function crossings(points, y) {
  const cuts = [];
  for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
    const [ax, ay] = points[j];
    const [bx, by] = points[i];
    if (ay <= y !== by <= y) cuts.push(ax + ((y - ay) / (by - ay)) * (bx - ax));
  }
  return cuts.sort((a, b) => a - b);
}

/** The connected region (4 neighbours) of equal labels around a pixel: Uint8Array of 0 and 1. */
export function regionAt(data, size, x, y) {
  const region = new Uint8Array(data.length);
  const start = Math.floor(y) * size + Math.floor(x);
  const label = data[start];
  const stack = [start];
  region[start] = 1;
  const visit = (index) => {
    if (data[index] === label && !region[index]) {
      region[index] = 1;
      stack.push(index);
    }
  };
  while (stack.length > 0) {
    const index = stack.pop();
    const column = index % size;
    if (column > 0) visit(index - 1);
    if (column < size - 1) visit(index + 1);
    if (index >= size) visit(index - size);
    if (index + size < data.length) visit(index + size);
  }
  return region;
}

/** [label, count, label, count, ...] of a mask. */
export function encodeRuns(data) {
  const runs = [];
  for (let i = 0; i < data.length; ) {
    let end = i + 1;
    while (end < data.length && data[end] === data[i]) end++;
    runs.push(data[i], end - i);
    i = end;
  }
  return runs;
}

/** The mask of [label, count, ...]. */
export function decodeRuns(runs, size) {
  const data = new Uint8Array(size * size);
  let place = 0;
  for (let i = 0; i < runs.length; i += 2) {
    data.fill(runs[i], place, place + runs[i + 1]);
    place += runs[i + 1];
  }
  if (place !== data.length) throw new Error(`the mask has ${place} pixels instead of ${data.length}`);
  return data;
}
