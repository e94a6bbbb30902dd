"""Annotation cost by hand-worked tiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aczerots.selection.annotation_cost import annotation_cost
from aczerots.taxonomy import IGNORE

SEEN = np.array([True, True, False, False])


def cost_of(rows: list[list[int]], inside: list[list[int]] | None = None) -> float:
    labels = np.array([rows], dtype=np.uint8)
    within = np.ones_like(labels, dtype=bool) if inside is None else np.array([inside], dtype=bool)
    return float(annotation_cost(labels, within, SEEN)[0])


def test_a_tile_of_one_class_is_only_looked_at():
    assert cost_of([[0, 0], [0, 0]]) == 1
    assert cost_of([[2, 3], [IGNORE, 2]]) == 1, "nothing of it is drawn"


def test_a_straight_outline_costs_as_much_as_looking():
    assert cost_of([[0, 1], [0, 1]]) == 2
    assert cost_of([[0, 2], [0, IGNORE]]) == 2
    assert cost_of([[0] * 4, [0] * 4, [2] * 4, [2] * 4]) == 2


def test_outlines_against_the_outside_do_not_count():
    assert cost_of([[0, 1], [0, 1]], [[1, 0], [1, 0]]) == 1
    assert cost_of([[0, 1, 9], [9, 9, 9]], [[1, 1, 0], [0, 0, 0]]) == pytest.approx(1 + 1 / np.sqrt(2))


@settings(deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 7), st.integers(2, 7))
def test_it_counts_steps_one_by_one(seed: int, rows: int, columns: int):
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([0, 1, 2, 3, 254, IGNORE], dtype=np.uint8), (1, rows, columns))
    inside = rng.random((1, rows, columns)) < 0.8
    steps = 0
    for y in range(rows):
        for x in range(columns):
            for v, u in ((y + 1, x), (y, x + 1)):
                if v < rows and u < columns and inside[0, y, x] and inside[0, v, u]:
                    a, b = (int(c) if c < 2 else None for c in (labels[0, y, x], labels[0, v, u]))
                    steps += a != b
    expected = 1 + steps / np.sqrt(max(1, inside.sum()))
    assert annotation_cost(labels, inside, SEEN)[0] == pytest.approx(expected)
