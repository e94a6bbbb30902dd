"""Turns a sentence into hashed features: words, neighbouring pairs and pieces of words, with negation marked."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from itertools import pairwise

BUCKETS = 16384
"""Rows of the feature table; feature 0 is kept for the empty sentence."""

_STOP_WORDS = """
a an the of and or is are was were be in on at to with as it its this that these those by for from which there their
they has have having into image picture photo show shows showing seen tissue region area cropped histology
histopathology histological stained staining section slide patch tile h e he hematoxylin eosin microscopy micrograph
"""
_STOP = frozenset(_STOP_WORDS.split())
_NEGATION = frozenset(
    ("no", "not", "without", "absent", "lacks", "lack", "lacking", "devoid", "free", "never", "neither", "nor", "non")
)
_SCOPE_END = frozenset(("but", "with", "however", "although", "while", "whereas", "only"))
_SPELLING = {"our": "or", "aem": "em", "oed": "ed", "oes": "es", "aes": "es", "fibre": "fiber", "grey": "gray"}
_SCOPE = 4


def _normal(word: str) -> str:
    """British to American spelling and plural to singular, as far as pathology words need it."""
    for old, new in _SPELLING.items():
        word = word.replace(old, new)
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def words(sentence: str) -> list[str]:
    """Content words in order; words in the scope of a negation carry ``!`` in front.

    A scope opens at 'no', 'without' and the like, and ends after four content words, at punctuation or at 'but'.
    """
    out: list[str] = []
    scope = 0
    for token in re.findall(r"[a-z0-9]+|[.,;:!?()]", sentence.lower().replace("h&e", "")):
        if not token[0].isalnum() or token in _SCOPE_END:
            scope = 0
        elif token in _NEGATION:
            scope = _SCOPE
        elif token not in _STOP:
            out.append(("!" if scope else "") + _normal(token))
            scope = max(scope - 1, 0)
    return out


def _bucket(feature: str) -> int:
    return 1 + zlib.crc32(feature.encode()) % (BUCKETS - 1)


def features(sentence: str) -> list[int]:
    """Feature ids of a sentence, at least one."""
    tokens = words(sentence)
    ids = [_bucket(f"w:{w}") for w in tokens]
    ids += [_bucket(f"p:{a} {b}") for a, b in pairwise(tokens)]
    for token in tokens:
        mark, word = ("!", token[1:]) if token.startswith("!") else ("", token)
        framed = f"<{word}>"
        ids += [_bucket(f"g:{mark}{framed[i : i + 4]}") for i in range(max(len(framed) - 3, 1))]
    return ids or [0]


def batch(sentences: Sequence[str]) -> tuple[list[int], list[int]]:
    """(feature ids of all sentences joined, start of each sentence in them)."""
    ids: list[int] = []
    starts: list[int] = []
    for sentence in sentences:
        starts.append(len(ids))
        ids += features(sentence)
    return ids, starts
