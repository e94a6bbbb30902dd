"""Weights from outside: files to tensors, tensors into modules; every failure is one sentence."""

from __future__ import annotations

import importlib
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from aczerots.errors import InputError

State = dict[str, torch.Tensor]
M = TypeVar("M", bound=nn.Module)

WRAPPERS = ("state_dict", "model", "module")
"""Names under which training code likes to put the weights."""

_FIX = "Check that the kind before the colon belongs to these weights"


def read_state(path: Path, source: str) -> State:
    """Tensors of a checkpoint by name, on the CPU; ``source`` is what the user wrote, for messages.

    ``.safetensors`` holds nothing but tensors. Other files are those of ``torch.save``, which may hold any
    Python object and with it any code; they are read with ``weights_only=True``, by a reader that knows only
    tensors and plain containers and refuses the rest before it is built. A leading ``module.`` of data-parallel
    training is taken off.

    Raises:
        InputError: The file is damaged or holds more than tensors.
    """
    safetensors: Any = importlib.import_module("safetensors.torch")
    damages = (OSError, RuntimeError, ValueError, EOFError, KeyError, zipfile.BadZipFile)
    try:
        if path.suffix == ".safetensors":
            safe: State = safetensors.load_file(path)
            return safe
        data: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        fix = "It may run code when it is read, so it is not; convert it to safetensors where you trust it"
        raise InputError(f"{path.name} holds more than tensors", where=source, fix=fix) from error
    except (*damages, importlib.import_module("safetensors").SafetensorError) as error:
        raise InputError(f"{path.name} cannot be read: {_line(error)}", where=source) from error
    while isinstance(data, Mapping) and not any(isinstance(v, torch.Tensor) for v in data.values()):
        inner = next((data[name] for name in WRAPPERS if name in data), None)
        if inner is None:
            break
        data = inner
    pairs = data.items() if isinstance(data, Mapping) else ()
    state = {str(k).removeprefix("module."): v for k, v in pairs if isinstance(v, torch.Tensor)}
    if not state:
        raise InputError(f"{path.name} holds no named tensors", where=source)
    return state


def fill(
    build: Callable[[State], M],
    state: State,
    source: str,
    published: Callable[[str], Sequence[str]] = lambda name: (name,),
) -> M:
    """A module built to the shapes of a checkpoint, with its values; frozen, in evaluation mode, float32, on the CPU.

    Args:
        build: Makes the module from the checkpoint's shapes; may raise KeyError for a tensor it looks for.
        state: Tensors by name.
        source: What the user wrote, for messages.
        published: Name of a tensor of the module to its name in the checkpoint, or to those of several that are
            joined along their first axis.

    Raises:
        InputError: A tensor is missing or has another shape, or a numbered part has a tensor too many. Other tensors
            may belong to parts that are not built, such as a caption decoder, and are left.
    """
    try:
        with torch.device("meta"):
            module = build(state)
    except KeyError as error:
        raise InputError(f"the checkpoint has no tensor {error.args[0]}", where=source, fix=_FIX) from error
    except (ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
        raise InputError(f"the checkpoint's shapes fit no such model: {_line(error)}", where=source) from error
    values: State = {}
    used: set[str] = set()
    for name, empty in module.state_dict().items():
        names = published(name)
        shape = (empty.shape[0] // len(names), *empty.shape[1:]) if empty.ndim else ()
        for part in names:
            if part not in state:
                raise InputError(f"the checkpoint has no tensor {part}", where=source, fix=_FIX)
            if (found := tuple(state[part].shape)) != shape:
                raise InputError(f"{part} has the shape {found}, not {shape}", where=source, fix=_FIX)
        joined = state[names[0]] if len(names) == 1 else torch.cat([state[part] for part in names])
        values[name] = joined.float()
        used.update(names)
    numbered = tuple({match[0] for name in used if (match := re.match(r".*?\.\d+\.", name))})
    extra = next((name for name in state if name not in used and name.startswith(numbered)), None)
    if extra is not None:
        raise InputError(f"the checkpoint has a tensor that fits no such model: {extra}", where=source, fix=_FIX)
    module.load_state_dict(values, assign=True)
    return module.eval().requires_grad_(False)


def _line(error: BaseException) -> str:
    """An error as one short line."""
    return " ".join(str(error).split())[:200]
