import assert from "node:assert/strict";
import test from "node:test";

import { cornerAt, edgeAt, Outline } from "../src/outline.js";

const SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10]];

test("the nearest corner within reach is found", () => {
  assert.equal(cornerAt(SQUARE, [9, 1], 3), 1);
  assert.equal(cornerAt(SQUARE, [5, 5], 3), -1);
  assert.equal(cornerAt([[0, 0], [2, 0]], [1.5, 0], 3), 1);
});

test("an edge is found between its ends, the closing one only where it is drawn", () => {
  assert.equal(edgeAt(SQUARE, [5, 1], 2), 0);
  assert.equal(edgeAt(SQUARE, [9, 6], 2), 1);
  assert.equal(edgeAt(SQUARE, [1, 5], 2), -1);
  assert.equal(edgeAt(SQUARE, [1, 5], 2, true), 3);
  assert.equal(edgeAt(SQUARE, [-5, 0], 2), -1, "beyond the end of the line");
  assert.equal(edgeAt([[3, 3]], [3, 3], 2), -1);
});

test("corners are moved, inserted and deleted, each taken back by one undo", () => {
  const outline = new Outline();
  for (const point of [...SQUARE, [0, 10]]) outline.add([...point]);
  assert.equal(outline.length, 4, "the same place twice is one corner");
  outline.hold(2);
  outline.move([12, 11]);
  outline.move([12, 12]);
  assert.equal(outline.release(), true);
  outline.insert(0, [5, -1]);
  outline.move([5, -2]);
  outline.release();
  outline.delete(4);
  assert.deepEqual(outline.points, [[0, 0], [5, -2], [10, 0], [12, 12]]);
  outline.undo();
  assert.deepEqual(outline.points, [[0, 0], [5, -2], [10, 0], [12, 12], [0, 10]]);
  outline.undo();
  assert.deepEqual(outline.points, [[0, 0], [10, 0], [12, 12], [0, 10]]);
  outline.undo();
  assert.deepEqual(outline.points, SQUARE);
  for (let i = 0; i < 4; i++) outline.undo();
  assert.equal(outline.length, 0);
});

test("a corner that is held and not moved is no step", () => {
  const outline = new Outline();
  outline.add([1, 1]);
  outline.add([2, 2]);
  outline.hold(0);
  assert.equal(outline.release(), false);
  outline.undo();
  assert.deepEqual(outline.points, [[1, 1]]);
});
