"""Texts longer than a model's context are parted at the best border, never cut."""

from __future__ import annotations

import re
from collections.abc import Callable

BORDERS = (r"(?<=[.!?])\s+", r"(?<=[,;:])\s+", r"\s+")
"""Where a long text may be parted, best first: sentences, clauses, words."""


def split_text(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Part a text into pieces that fit, at the best border nearest to its middle.

    Args:
        text: Any text; a single word that does not fit is parted between letters.
        fits: Says whether a piece is short enough; true for a single letter.

    Returns:
        Pieces in order; without spaces they make up the text without spaces. One piece if the text fits.
    """
    if fits(text) or len(text.strip()) < 2:
        return [text]
    text = text.strip()
    middle = len(text) / 2
    for border in BORDERS:
        cuts = [m.span() for m in re.finditer(border, text)]
        if cuts:
            start, end = min(cuts, key=lambda cut: abs(sum(cut) / 2 - middle))
            break
    else:
        start = end = len(text) // 2
    return split_text(text[:start], fits) + split_text(text[end:], fits)
