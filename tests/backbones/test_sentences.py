"""Parting of long texts."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from aczerots.backbones.tokenizers import split_text


def test_split_prefers_sentences_to_clauses_to_words():
    def fits(limit: int) -> Callable[[str], bool]:
        return lambda piece: len(piece) <= limit

    text = "One, two three. Four five, six."
    assert split_text(text, fits(31)) == [text]
    assert split_text(text, fits(16)) == ["One, two three.", "Four five, six."]
    assert split_text(text, fits(10)) == ["One,", "two three.", "Four five,", "six."]
    assert split_text(text, fits(7)) == ["One,", "two", "three.", "Four", "five,", "six."]
    assert split_text("abcdefgh", fits(3)) == ["ab", "cd", "ef", "gh"]


@given(st.text(min_size=1), st.integers(1, 12))
def test_split_loses_nothing(text, limit):
    pieces = split_text(text, lambda piece: len(piece) <= limit)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(len(piece) <= limit for piece in pieces if len(pieces) > 1)
