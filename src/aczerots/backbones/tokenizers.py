"""Tokenizers from a single JSON file of the tokenizers library: text to ids, never cut and never padded."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aczerots.backbones.locator import Locator
from aczerots.errors import InputError


def read_tokenizer(path: Path, locator: Locator, last: int) -> Callable[[str], list[int]]:
    """A function from a text to its ids, with the start and end tokens that the file asks for.

    Args:
        path: ``tokenizer.json`` or a file of the same kind.
        locator: For messages.
        last: Highest id that the text tower knows.

    Raises:
        InputError: Not such a file, or it has ids that the text tower does not know.
    """
    tokenizers: Any = importlib.import_module("tokenizers")
    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} holds no tokenizer: {error}", where=locator.where) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if highest > last:
        fix = "Take weights and tokenizer from the same model"
        raise InputError("the tokenizer does not belong to the weights", where=locator.where, fix=fix)

    def tokens(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text).ids
        return ids

    if len(tokens("")) != 2:
        raise InputError(f"{path.name} sets no start and end of the text", where=locator.where)
    return tokens


def read_wordpieces(path: Path, locator: Locator, last: int) -> Callable[[str], list[int]]:
    """A function from a text to the ids of an uncased BERT, ``[CLS]`` first and ``[SEP]`` last.

    Args:
        path: ``vocab.txt``, a word piece per line.
        locator: For messages.
        last: Highest id that the text tower knows.

    Raises:
        InputError: Not such a file, or it has ids that the text tower does not know.
    """
    tokenizers: Any = importlib.import_module("tokenizers")
    try:
        vocab = {line: i for i, line in enumerate(path.read_text(encoding="utf-8").splitlines())}
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} cannot be read: {error}", where=locator.where) from error
    if not {"[CLS]", "[SEP]", "[UNK]"} <= set(vocab) or len(vocab) > last + 1:
        fix = "Take weights and vocabulary from the same model"
        raise InputError(f"{path.name} does not belong to the weights", where=locator.where, fix=fix)
    tokenizer = tokenizers.BertWordPieceTokenizer(vocab, lowercase=True)

    def tokens(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text).ids
        return ids

    return tokens
