import assert from "node:assert/strict";
import test from "node:test";

import { History } from "../src/history.js";
import { decodeRuns, encodeRuns, IGNORE, Mask, regionAt } from "../src/mask.js";

const whole = (size) => ({ x: 0, y: 0, width: size, height: size });

test("a polygon fills the pixels whose centre it contains", () => {
  const mask = new Mask(6, whole(6));
  assert.equal(mask.polygon([[1, 1], [4, 1], [4, 3], [1, 3]], 2), 6);
  assert.deepEqual([...mask.data.slice(6, 12)], [255, 2, 2, 2, 255, 255]);
  assert.equal(mask.polygon([[1, 1], [4, 1], [4, 3], [1, 3]], 2), 0, "nothing changes the second time");
});

test("polygons that share an edge neither overlap nor leave a gap", () => {
  const mask = new Mask(20, whole(20));
  const a = mask.polygon([[0, 0], [20, 0], [3.7, 20]], 0);
  const b = mask.polygon([[20, 0], [20, 20], [3.7, 20]], 1);
  const c = mask.polygon([[0, 0], [3.7, 20], [0, 20]], 2);
  assert.equal(a + b + c, 400);
  assert.equal(mask.counts().get(IGNORE), undefined);
});

test("a self-crossing polygon follows the even-odd rule", () => {
  const mask = new Mask(10, whole(10));
  mask.polygon([[0, 0], [10, 10], [10, 0], [0, 10]], 1);
  assert.equal(mask.at(1, 5), 1);
  assert.equal(mask.at(8, 5), 1);
  assert.equal(mask.at(5, 1), IGNORE);
});

test("a brush dot has the area of its circle and a stroke that of its capsule", () => {
  const mask = new Mask(100, whole(100));
  const dot = mask.stroke([50, 50], [50, 50], 20, 0);
  assert.ok(Math.abs(dot - Math.PI * 400) < 20);
  mask.clear();
  const capsule = mask.stroke([30, 50], [70, 50], 10, 0);
  assert.ok(Math.abs(capsule - (Math.PI * 100 + 800)) < 20);
});

test("nothing is drawn outside the tile's box", () => {
  const mask = new Mask(8, { x: 2, y: 3, width: 4, height: 2 });
  assert.equal(mask.polygon([[-5, -5], [20, -5], [20, 20], [-5, 20]], 1), 8);
  assert.equal(mask.stroke([0, 0], [8, 8], 50, 0), 8);
  mask.clear();
  assert.equal(mask.fillRest(3), 8);
  assert.equal(mask.data.filter((v) => v !== IGNORE).length, 8);
});

test("a draft is accepted where nothing was drawn, for classes that may be drawn, by region or whole", () => {
  const draft = Uint8Array.from([0, 0, 1, 2, 0, 2, 1, 1, 0]);
  const mask = new Mask(3, whole(3));
  mask.data[0] = 1;
  const region = regionAt(draft, 3, 2.5, 2.5);
  assert.deepEqual([...region], [0, 0, 0, 0, 0, 0, 0, 0, 1]);
  assert.deepEqual([...regionAt(draft, 3, 0, 0)], [1, 1, 0, 0, 1, 0, 0, 0, 0]);
  assert.equal(mask.accept(draft, new Set([0, 1]), region), 1);
  assert.equal(mask.accept(draft, new Set([0, 1])), 5);
  assert.deepEqual([...mask.data], [1, 0, 1, 255, 0, 255, 1, 1, 0]);
});

test("run lengths go there and back", () => {
  const data = Uint8Array.from([255, 255, 1, 1, 1, 0, 255, 255, 255]);
  assert.deepEqual(encodeRuns(data), [255, 2, 1, 3, 0, 1, 255, 3]);
  assert.deepEqual(decodeRuns(encodeRuns(data), 3), data);
  assert.throws(() => decodeRuns([1, 5], 3), /5 pixels/);
});

test("undo and redo walk the states, a new step forgets the undone ones", () => {
  const history = new History();
  const states = [0, 1, 2].map((v) => Uint8Array.from([v]));
  history.push(states[0]);
  history.push(states[1]);
  assert.deepEqual(history.undo(states[2]), states[1]);
  assert.deepEqual(history.undo(states[1]), states[0]);
  assert.equal(history.undo(states[0]), null);
  assert.deepEqual(history.redo(states[0]), states[1]);
  history.push(states[1]);
  assert.equal(history.canRedo, false);
});
