"""Published models that cannot be a backbone, with the reason; known by name, so that nothing is downloaded first."""

from __future__ import annotations

from aczerots.backbones.locator import Locator
from aczerots.errors import InputError

NOT_ALIGNED = {
    "mahmoodlab/conchv1_5": "no text tower was trained with its tile features; that of TITAN reads features of slides",
    "mahmoodlab/titan": "it aligns text with whole slides and not with tiles",
    "paige-ai/prism": "it aligns text with whole slides and not with tiles",
}
"""Hub ids in lower case, and why no text lies in the space of their tile features."""

VISION_ONLY = {
    "mahmoodlab/uni": "timm",
    "mahmoodlab/uni2-h": "timm",
    "paige-ai/virchow": "timm",
    "paige-ai/virchow2": "timm",
    "prov-gigapath/prov-gigapath": "timm",
    "bioptimus/h-optimus-0": "timm",
    "owkin/phikon": "hf",
    "owkin/phikon-v2": "hf",
}
"""Hub ids in lower case, and the kind by which they can help."""


def refuse_known(locator: Locator) -> None:
    """Refuse what is known to have no text in the space of its tiles, and say what to do instead."""
    name = locator.name
    if reason := NOT_ALIGNED.get(name.lower()):
        fix = "Use a model with text for tiles, for example conch:MahmoodLab/CONCH or hf:vinid/plip"
        raise InputError(f"is not aligned with text: {reason}", where=locator.where, fix=fix)
    if kind := VISION_ONLY.get(name.lower()):
        fix = f"Use it as a helper of a model that has: --backbone hf:vinid/plip --refine-with {kind}:{name}"
        raise InputError("is a vision-only model, it has no text", where=locator.where, fix=fix)
