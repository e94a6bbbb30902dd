"""Lets torchvision be imported beside a torch that its compiled part was not built for.

Importing torchvision adds to operators (nms, roi_align, ...) that its compiled part declares. That part is built
against the CUDA libraries, does not load beside a CPU torch, and says nothing; the import then fails at the first
operator that does not exist. Transforms and model definitions, all that open_clip and timm use here, need none of
them: declared by name and never called, they do.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float threshold) -> Tensor",
    *(f"{name}(Tensor input) -> Tensor" for name in ("roi_align", "qroi_align", "roi_pool", "ps_roi_align")),
    *(f"{name}(Tensor input) -> Tensor" for name in ("ps_roi_pool", "deform_conv2d")),
    *(f"_{name}_backward(Tensor grad) -> Tensor" for name in ("roi_align", "roi_pool", "ps_roi_align")),
    *(f"_{name}_backward(Tensor grad) -> Tensor" for name in ("ps_roi_pool", "deform_conv2d")),
)


def declare() -> torch.library.Library | None:
    """Declare the operators if the compiled part cannot; the result must be kept as long as they are needed."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return None
    try:
        torch.ops.load_library(str(Path(spec.submodule_search_locations[0]) / "_C.so"))
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for schema in OPERATORS:
            library.define(schema)
        return library
    return None
