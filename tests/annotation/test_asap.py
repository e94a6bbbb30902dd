"""ASAP files: what the QuPath extension writes is read exactly, what it reads is exact, bad files are refused."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aczerots.annotation.formats.asap import read_asap, without_holes, write_asap
from aczerots.annotation.formats.raster import rasterise, vectorise
from aczerots.errors import InputError
from aczerots.slides.base import Box
from aczerots.taxonomy import IGNORE, Taxonomy, TissueClass

TAXONOMY = Taxonomy(
    classes=(
        TissueClass(name="tumor", color=(200, 0, 0)),
        TissueClass(name='stroma "B" & <C>', color=(0, 200, 0)),
        TissueClass(name="necrosis", color=(0, 0, 200), seen=False),
    )
)
WINDOW = Box(100, 40, 12, 9)


def document(*annotations: str, head: str = 'X="0" Y="0" W="0" H="0"') -> bytes:
    """A file as the extension makes it."""
    body = "".join(annotations)
    groups = '<AnnotationGroups><Group Color="#c80000" Name="tumor" PartOfGroup="None"/></AnnotationGroups>'
    return f"<ASAP_Annotations><Annotations {head}>{body}</Annotations>{groups}</ASAP_Annotations>".encode()


def annotation(name: str, corners: list[tuple[object, object]], kind: str = "Polygon") -> str:
    inside = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(corners))
    head = f'<Annotation Color="#c80000" Name="{name}" PartOfGroup="{name}" Type="{kind}">'
    return f"{head}<Coordinates>{inside}</Coordinates></Annotation>"


SQUARE: list[tuple[object, object]] = [(2, 3), (7, 3), (7, 8), (2, 8)]


def test_corners_are_relative_to_the_origin() -> None:
    found = read_asap(document(annotation("tumor", SQUARE), head='X="100" Y="40"'), TAXONOMY)
    assert [(d.number, d.label, d.geometry.bounds) for d in found.drawings] == [(1, 0, (102, 43, 107, 48))]


def test_an_unseen_class_is_taken_as_not_annotated() -> None:
    found = read_asap(document(annotation("tumor", SQUARE), annotation("necrosis", SQUARE)), TAXONOMY)
    assert [d.label for d in found.drawings] == [0, IGNORE]


def test_points_and_lines_are_listed_as_unused() -> None:
    found = read_asap(document(annotation("tumor", SQUARE[:2], "Line"), annotation("tumor", SQUARE)), TAXONOMY)
    assert [u.number for u in found.unused] == [1]
    assert len(found.drawings) == 1


@pytest.mark.parametrize("corners", [[], SQUARE[:1], SQUARE[:2], SQUARE[:1] * 4, [(0, 0), (9, 0), (4, 0)]])
def test_shapes_without_area_are_listed_as_unused(corners: list[tuple[object, object]]) -> None:
    found = read_asap(document(annotation("tumor", corners), annotation("tumor", SQUARE)), TAXONOMY)
    assert [(u.number, u.reason) for u in found.unused] == [(1, "has no area")]
    assert [d.number for d in found.drawings] == [2]


@pytest.mark.parametrize("mask_seed", range(5))
def test_masks_go_to_qupath_and_back(mask_seed: int) -> None:
    mask = np.random.default_rng(mask_seed).choice(np.array([0, 1, 2, IGNORE], np.uint8), (9, 12))
    regions = [(TAXONOMY.names[i], TAXONOMY.classes[i].color, polygon) for i, polygon in vectorise(mask, WINDOW)]
    text = write_asap(regions, "slide", (WINDOW.x, WINDOW.y))
    # The extension adds no origin to what it reads; what it sends back is relative to the frame it was sent for.
    whole = text.replace('X="100" Y="40"', 'X="0" Y="0"', 1)
    back = read_asap(whole.encode(), TAXONOMY)
    again = rasterise([(d.label, d.geometry) for d in back.drawings], WINDOW, (12, 9))
    np.testing.assert_array_equal(again, np.where(mask == 2, IGNORE, mask))


def test_the_file_is_what_the_extension_looks_for() -> None:
    (label, polygon), *_ = vectorise(np.zeros((2, 3), np.uint8), Box(5, 6, 3, 2))
    root = ET.fromstring(write_asap([(TAXONOMY.names[1], (0, 200, 0), polygon)], "a", (0, 0)))
    assert label == 0
    (found,) = root.iter("Annotation")
    assert found.attrib["Name"] == TAXONOMY.names[1]
    corners = {(c.attrib["X"], c.attrib["Y"]) for c in found.iter("Coordinate")}
    assert corners == {("5", "6"), ("8", "6"), ("8", "8"), ("5", "8")}


@settings(max_examples=40)
@given(arrays(np.uint8, (7, 9), elements=st.sampled_from([0, IGNORE])))
def test_pieces_without_holes_cover_the_same(mask: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> None:
    box = Box(0, 0, 9, 7)
    for _, polygon in vectorise(mask, box):
        pieces = without_holes(polygon)
        assert not any(p.interiors for p in pieces)
        assert sum(p.area for p in pieces) == polygon.area
    pieces = [(0, p) for _, polygon in vectorise(mask, box) for p in without_holes(polygon)]
    np.testing.assert_array_equal(rasterise(pieces, box, (9, 7)), mask)


def test_outlines_that_whole_pixels_let_touch_are_mended() -> None:
    spike = [(0, 0), (40, 0), (40, 40), (20, 40), (20, 41), (20, 40), (0, 40)]
    (found,) = read_asap(document(annotation("tumor", list(spike))), TAXONOMY).drawings
    assert found.geometry.is_valid
    assert found.geometry.area == 1600


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "annotations: this is not XML"),
        (b"<html></html>", "begins with <html>"),
        (b"\xff\xfe\x00", "this is not XML"),
        (document(annotation("tumor", SQUARE))[:-9], "this is not XML"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><ASAP_Annotations/>', "has a document type"),
        ('<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a><ASAP_Annotations/>'.encode("utf-16"), "document type"),
        (b"<ASAP_Annotations>" + b"<a>" * 400, "nested too deeply"),
        (document(annotation("tumour", SQUARE)), "annotation 1: is of the unknown class 'tumour'"),
        (document(annotation("tumor", [(0, 0), (9, 9), (9, 0), (0, 9)])), "annotation 1: has an outline that crosses"),
        (document(annotation("tumor", [("nan", 0), (9, 9), (9, 0)])), "lies on no slide"),
        (document(annotation("tumor", [("1e12", 0), (9, 9), (9, 0)])), "lies on no slide"),
        (document(annotation("tumor", [("x", 0), (9, 9), (9, 0)])), "no pair of numbers"),
        (document('<Coordinate X="1" Y="2"/>'), "outside of any annotation"),
        (document(head='X="q" Y="0"'), "no pair of numbers"),
    ],
)
def test_bad_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_asap(data, TAXONOMY)
