"""Figures are self-contained SVG that takes its colours from the page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from aczerots.report.compare import Curve
from aczerots.report.figures import SERIES, budget_figure, class_figure

CURVES = [
    Curve("ours <$x$>", [0.0, 0.05, 0.2], [0.1, None, 0.3], [0.05, None, 0.2], [0.15, None, 0.4]),
    Curve("random", [0.0, 0.05, 0.2], [0.1, 0.15, 0.2]),
]
SVG = "{http://www.w3.org/2000/svg}"


def _texts(svg: str) -> list[str]:
    return ["".join(e.itertext()) for e in ET.fromstring(svg).iter(f"{SVG}text")]


def test_text_stays_text_and_names_every_curve_and_level() -> None:
    texts = _texts(budget_figure(CURVES, zero_shot=0.11, full_label=0.42))
    for text in ("ours <$x$>", "random", "zero-shot", "0.110", "all labels", "0.420", "hIoU", "20 %"):
        assert text in texts


@pytest.mark.parametrize(
    ("zero_shot", "full_label"), [(0.11, 0.42), (0.42, 0.11), (0.2, 0.2), (None, 0.3), (0.1, None)]
)
def test_names_of_levels_stand_right_of_the_curves_and_not_on_each_other(
    zero_shot: float | None, full_label: float | None
) -> None:
    svg = budget_figure(CURVES, zero_shot, full_label)
    curves = [
        float(x)
        for line in re.findall(r'<path d="([^"]*)"[^>]*series-', svg)
        for x in re.findall(r"[ML] ([\d.]+)", line)
    ]
    places = [
        tuple(map(float, re.findall(r"[\d.]+", e.attrib["transform"])))
        for e in ET.fromstring(svg).iter(f"{SVG}text")
        if "9.5px" in e.attrib["style"]
    ]
    assert len(places) == 2 * sum(level is not None for level in (zero_shot, full_label))
    assert min(x for x, _ in places) > max(curves)
    heights = sorted(y for _, y in places)
    assert all(b - a > 9.5 for a, b in pairwise(heights))


def test_colours_come_from_the_page_and_nothing_from_outside() -> None:
    svg = budget_figure(CURVES)
    assert "currentColor" in svg
    assert f"var(--series-1, {SERIES[0]})" in svg
    bare = re.sub(r"var\([^)]*\)", "", svg)
    assert not re.findall(r"#[0-9a-f]{6}\b", bare.replace("#ffffff", ""))
    outside = re.findall(r"https?://[^\"' ]+", svg)
    assert set(outside) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_text_takes_the_font_of_the_readers_machine() -> None:
    families = re.findall(r"font-family: ([^;\"]*)", budget_figure(CURVES, 0.1, 0.4))
    assert set(families) == {"system-ui, sans-serif"}


def test_the_same_figure_twice_is_the_same_text() -> None:
    assert budget_figure(CURVES) == budget_figure(CURVES)


@pytest.mark.parametrize("iou", [[None, None], [0.5, None], [0.0, 1.0]])
def test_class_figure_escapes_its_name(iou: list[float | None]) -> None:
    svg = class_figure('a "b" <c>', seen=False, fraction=[0.0, 0.1], iou=iou)
    assert ET.fromstring(svg).get("aria-label") == 'IoU of a "b" <c> over the labelled fraction of the pool'


def test_no_score_at_all_still_draws() -> None:
    assert _texts(budget_figure([Curve("none", [0.0, 0.1], [None, None])]))


@pytest.mark.parametrize("most", [0.214, 0.05, 1.0])
def test_the_numbers_of_an_axis_stand_at_equal_distances(most: float) -> None:
    texts = _texts(budget_figure([Curve("", [most / 2, most], [0.2, 0.4])]))
    numbers = [float(t.removesuffix(" %")) for t in texts if t.endswith(" %")]
    assert len(numbers) > 3
    assert [b - a for a, b in pairwise(numbers)] == pytest.approx([numbers[1]] * (len(numbers) - 1))
