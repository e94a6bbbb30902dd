"""Reads YAML files from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from aczerots.errors import InputError
from aczerots.storage.text_file import read_text


def read_yaml(path: Path) -> Any:
    """Content of a YAML file as plain Python values.

    Raises:
        InputError: It cannot be read, or is not YAML; says where.
    """
    text = read_text(path)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = path if mark is None else f"{path}, line {mark.line + 1}"
        raise InputError(f"this is not YAML: {getattr(error, 'problem', error)}", where=where) from None
