"""How a backbone is opened and run, apart from which one it is."""

from __future__ import annotations

from dataclasses import dataclass

from aczerots.config import Precision


@dataclass(frozen=True)
class BackboneOptions:
    """Options of :func:`aczerots.backbones.locate.locate_backbone`.

    Attributes:
        refine_with: Locator of a vision-only helper that regularises the aligned features; None for no helper.
        precision: Floating-point format of the forward pass over images.
        compiled: Compile the forward pass (torch.compile).
        trust_remote_code: Let repositories that bring Python code of their own run it.
    """

    refine_with: str | None = None
    precision: Precision = "fp32"
    compiled: bool = False
    trust_remote_code: bool = False
