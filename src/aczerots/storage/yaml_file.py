"""Reads YAML files from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from aczerots.errors import InputError


def read_yaml(path: Path) -> Any:
    """Content of a YAML file as plain Python values.

    Raises:
        InputError: It cannot be read, or is not YAML; says where.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from None
    except UnicodeDecodeError:
        raise InputError("this is not UTF-8 text", where=path) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = path if mark is None else f"{path}, line {mark.line + 1}"
        raise InputError(f"this is not YAML: {getattr(error, 'problem', error)}", where=where) from None
