"""Weights from outside: files to tensors, tensors into modules; every failure is one sentence."""

from __future__ import annotations

import importlib
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from aczerots.errors import InputError

State = dict[str, torch.Tensor]
M = TypeVar("M", bound=nn.Module)

WRAPPERS = ("state_dict", "model", "module")
"""Names under which training code likes to put the weights."""


def read_state(path: Path, source: str) -> State:
    """Tensors of a checkpoint.

    ``.safetensors`` holds nothing but tensors. Other files are those of ``torch.save``, which may hold any
    Python object and with it any code; they are read with ``weights_only=True``, by a reader that knows only
    tensors and plain containers and refuses the rest before it is built.

    Args:
        path: The file.
        source: What the user wrote, for the errors.

    Returns:
        Tensors by name, on the CPU; a leading ``module.`` of data-parallel training is taken off.

    Raises:
        InputError: The file is damaged or holds more than tensors.
    """
    if path.suffix == ".safetensors":
        return _safe(path, source)
    try:
        data: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        fix = "It may run code when it is read, so it is not; convert it to safetensors where you trust it"
        raise InputError(f"{path.name} holds more than tensors", where=source, fix=fix) from error
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
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


def _safe(path: Path, source: str) -> State:
    safetensors: Any = importlib.import_module("safetensors")
    files: Any = importlib.import_module("safetensors.torch")
    try:
        state: State = files.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path.name} cannot be read: {_line(error)}", where=source) from error
    return state


def fill(build: Callable[[State], M], state: State, source: str) -> M:
    """A module built to the shapes of a checkpoint, with its values.

    Args:
        build: Makes the module from the checkpoint's shapes; may raise KeyError for a tensor it looks for.
        state: Tensors by name.
        source: What the user wrote, for the errors.

    Returns:
        The module, frozen, in evaluation mode, float32, on the CPU.

    Raises:
        InputError: A tensor is missing or has another shape, or a block has a tensor too many. Other tensors may
            belong to parts that are not built, such as a caption decoder, and are left.
    """
    try:
        with torch.device("meta"):
            module = build(state)
    except KeyError as error:
        raise InputError(f"the checkpoint has no tensor {error.args[0]}", where=source, fix=_FIX) from error
    except (ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
        raise InputError(f"the checkpoint's shapes fit no such model: {_line(error)}", where=source) from error
    wanted = {k: v.shape for k, v in module.state_dict().items()}
    for name, shape in wanted.items():
        if name not in state:
            raise InputError(f"the checkpoint has no tensor {name}", where=source, fix=_FIX)
        if state[name].shape != shape:
            found = tuple(state[name].shape)
            raise InputError(f"{name} has the shape {found}, not {tuple(shape)}", where=source, fix=_FIX)
    blocks = tuple(f"{name}.{i}." for name, part in module.named_modules() for i in _numbers(part))
    extra = next((name for name in state if name not in wanted and name.startswith(blocks)), None)
    if extra is not None:
        raise InputError(f"the checkpoint has a tensor that fits no such model: {extra}", where=source, fix=_FIX)
    module.load_state_dict({name: state[name].float() for name in wanted}, assign=True)
    return module.eval().requires_grad_(False)


_FIX = "Check that the kind before the colon belongs to these weights"


def _numbers(part: nn.Module) -> range:
    """Numbers of the blocks in a list of blocks, none for other parts."""
    return range(len(part)) if isinstance(part, nn.ModuleList) else range(0)


def _line(error: BaseException) -> str:
    """An error as one short line."""
    return " ".join(str(error).split())[:200]
