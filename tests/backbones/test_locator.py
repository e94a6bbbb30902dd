"""The grammar of locators."""

from __future__ import annotations

import pytest

from aczerots.backbones.locator import Locator, parse_locator
from aczerots.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "kind", "source", "revision", "method", "large"),
    [
        ("embedded", "embedded", "", None, None, None),
        ("hf:vinid/plip", "hf", "vinid/plip", None, None, None),
        ("hf:vinid/plip@refs/pr/3", "hf", "vinid/plip", "refs/pr/3", None, None),
        ("hf:vinid/plip@main#qq+kk", "hf", "vinid/plip", "main", "qq+kk", None),
        ("hf:vinid/plip#whole", "hf", "vinid/plip", None, None, "whole"),
        ("hf:./clip#layers,windows", "hf", "./clip", None, "layers", "windows"),
        ("hf:/a/b@c#value", "hf", "/a/b@c", None, "value", None),
        (
            "open_clip:hf-hub:wisdomik/QuiltNet-B-32@v1#qq",
            "open_clip",
            "hf-hub:wisdomik/QuiltNet-B-32",
            "v1",
            "qq",
            None,
        ),
    ],
)
def test_parts(text, kind, source, revision, method, large):
    assert parse_locator(text) == Locator(text, kind, source, revision, method, large)


def test_signs_inside_an_existing_path_belong_to_it(tmp_path):
    folder = tmp_path / "clip@2#old"
    folder.mkdir()
    assert parse_locator(f"hf:{folder}").source == str(folder)
    found = parse_locator(f"hf:{folder}#qq")
    assert (found.source, found.revision, found.method) == (str(folder), None, "qq")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hf:a/b#best", "unknown method 'best'.*value, qq\\+kk, qq, layers"),
        ("hf:a/b#", "unknown method ''"),
        ("hf:a/b#qq,value", "more than one method"),
        ("hf:a/b#qq,qq", "more than one method"),
        ("hf:a/b#whole,windows", "more than one method"),
    ],
)
def test_what_makes_no_sense_is_named(text, message):
    with pytest.raises(SettingsError, match=message):
        parse_locator(text)
