"""What is compared: the embedded backbone and its references."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from tools.train_embedded.attributes import attribute_matrix
from tools.train_embedded.fit import TrainingSettings, save
from tools.train_embedded.lexicon import Lexicon, levels_vector
from torch import Tensor

from aczerots.backbones.embedded import EmbeddedBackbone
from aczerots.backbones.embedded.backbone import pooled
from aczerots.backbones.embedded.towers import ImageTower, TextTower


class System(Protocol):
    """Something that turns tiles and class texts into scores."""

    name: str

    def grids(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(aligned [b, d, gh, gw] of unit length, layers [b, l, gh, gw]) of RGB uint8 [b, 3, h, w]."""

    def texts(self, names: Sequence[str], sentences: Sequence[Sequence[str]]) -> Tensor:
        """Class vectors [c, d] of unit length from names and sentences."""


class Towers:
    """The embedded backbone, trained or not."""

    def __init__(self, name: str, backbone: EmbeddedBackbone) -> None:
        self.name, self.backbone = name, backbone

    def grids(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`System`."""
        grids = self.backbone.encode_image(images)
        return grids.aligned, grids.layers

    def texts(self, names: Sequence[str], sentences: Sequence[Sequence[str]]) -> Tensor:
        """See :class:`System`; a class is the renormalised mean of its sentences."""
        del names
        return F.normalize(torch.stack([self.backbone.encode_text(s).mean(0) for s in sentences]), dim=1)


class Morphology:
    """The fixed measurements with directions written by hand (the levels of the profile table), nothing learned."""

    name = "morphology"

    def __init__(self, center: Tensor, scale: Tensor) -> None:
        self.center, self.scale = center, scale
        matrix = attribute_matrix()
        self.matrix = matrix / matrix.norm(dim=0)
        self.lexicon = Lexicon()

    def grids(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`System`; layers are the standardised measurements."""
        raw = torch.cat([pooled(part) for part in images.split(8)])
        z = ((raw.movedim(1, -1) - self.center) / self.scale).clamp(-3, 3)
        return F.normalize(z @ self.matrix, dim=-1).movedim(-1, 1), z.movedim(-1, 1)

    def texts(self, names: Sequence[str], sentences: Sequence[Sequence[str]]) -> Tensor:
        """See :class:`System`; reads the names only."""
        del sentences
        table = self.lexicon.by_name
        found = [table.get(n.lower()) or table[n.lower().rstrip("s")] for n in names]
        return F.normalize(torch.stack([levels_vector(p.levels) for p in found]), dim=1)


def all_systems() -> list[System]:
    """Embedded, untrained, morphology."""
    trained = EmbeddedBackbone()
    center, scale = trained.measurement_statistics
    torch.manual_seed(0)
    image = ImageTower(len(center))
    image.center.copy_(center)
    image.scale.copy_(scale)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "untrained.safetensors"
        save(image, TextTower(), TrainingSettings(), file)
        untrained = EmbeddedBackbone(file)
    return [Towers("embedded", trained), Towers("untrained", untrained), Morphology(center, scale)]
