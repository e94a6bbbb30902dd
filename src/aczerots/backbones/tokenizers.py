"""Tokenizers read from a single file, and texts longer than a context: never cut and never padded."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aczerots.backbones.locator import Locator
from aczerots.errors import InputError

Tokens = Callable[[str], list[int]]
"""A text to its token ids."""

BORDERS = (r"(?<=[.!?])\s+", r"(?<=[,;:])\s+", r"\s+")
"""Where a long text may be split, best first: sentences, clauses, words."""


def read_tokenizer(path: Path, locator: Locator, last: int) -> Tokens:
    """The tokenizer of a JSON file of the tokenizers library.

    Args:
        path: ``tokenizer.json`` or a file of the same kind.
        locator: For messages.
        last: Highest id that the text tower knows.

    Raises:
        InputError: Not such a file, it sets no start and end, or has ids that the text tower does not know.
    """
    tokenizers: Any = importlib.import_module("tokenizers")
    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} holds no tokenizer: {error}", where=locator.where) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    _check_ids(max(tokenizer.get_vocab().values(), default=-1), last, locator)
    tokens = _encoder(tokenizer)
    if len(tokens("")) != 2:
        raise InputError(f"{path.name} sets no start and end of the text", where=locator.where)
    return tokens


def read_wordpieces(path: Path, locator: Locator, last: int) -> Tokens:
    """The tokenizer of an uncased BERT, ``[CLS]`` first and ``[SEP]`` last; ``path`` has a word piece per line.

    The other arguments and errors are those of :func:`read_tokenizer`.
    """
    tokenizers: Any = importlib.import_module("tokenizers")
    try:
        vocab = {line: i for i, line in enumerate(path.read_text(encoding="utf-8").splitlines())}
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} cannot be read: {error}", where=locator.where) from error
    if not {"[CLS]", "[SEP]", "[UNK]"} <= set(vocab):
        fix = "Take weights and vocabulary from the same model"
        raise InputError(f"{path.name} lacks the special tokens of BERT", where=locator.where, fix=fix)
    _check_ids(len(vocab) - 1, last, locator)
    return _encoder(tokenizers.BertWordPieceTokenizer(vocab, lowercase=True))


def read_pieces(path: Path, locator: Locator, last: int) -> Tokens:
    """A sentencepiece tokenizer with the ids of XLM-RoBERTa; arguments and errors are those of :func:`read_tokenizer`.

    XLM-RoBERTa keeps fairseq's first ids, start 0, pad 1, end 2, unknown 3, and puts a sentencepiece id one
    higher; sentencepiece's unknown, 0, becomes 3 (documentation of ``XLMRobertaTokenizer`` in transformers).
    """
    sentencepiece: Any = importlib.import_module("sentencepiece")
    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path.name} holds no sentencepiece model", where=locator.where) from error
    _check_ids(processor.get_piece_size(), last, locator)
    return lambda text: [0, *(piece + 1 if piece else 3 for piece in processor.encode(text)), 2]


def not_of_these_weights(locator: Locator) -> InputError:
    """The error for a tokenizer whose ids mean something else to the text tower."""
    fix = "Take weights and tokenizer from the same model"
    return InputError("the tokenizer does not belong to the weights", where=locator.where, fix=fix)


def _check_ids(highest: int, last: int, locator: Locator) -> None:
    """Refuse ids that the text tower does not know."""
    if highest > last:
        raise not_of_these_weights(locator)


def _encoder(tokenizer: Any) -> Tokens:
    def tokens(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text).ids
        return ids

    return tokens


def split_text(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Split a text into pieces that fit, at the best border nearest to its middle.

    Args:
        text: Any text; a single word that does not fit is split between letters.
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
