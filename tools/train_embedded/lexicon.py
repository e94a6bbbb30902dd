"""Sentences and their targets: the profile table, the bundled descriptions, and the lifted attribute space."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from aczerots.backbones.embedded.towers import DIM
from tools.train_embedded.attributes import ATTRIBUTES
from tools.train_embedded.captions import draw, sentence
from tools.train_embedded.profiles import Profile, profiles

_NAMES = tuple(ATTRIBUTES)
_CONSTANT = 2.0
_RADIUS = 7.0
_BIAS = 0.35


def levels_vector(levels: dict[str, float]) -> Tensor:
    """Levels as float [attributes]."""
    return torch.tensor([levels.get(name, 0.0) for name in _NAMES])


@dataclass(frozen=True)
class Space:
    """Attribute space whitened by the spread within sources, brought to the unit sphere.

    The score of a linear discriminant, x'Wt - t'Wt / 2 with W the inverse of the covariance within classes
    (Fisher 1936), becomes a dot product of [L'x, c] and [L't, -t'Wt / 2c] with W = LL'. One more coordinate makes
    all texts equally long (Bachrach et al. 2014), so that the cosine ranks as the discriminant does.

    Attributes:
        center: Mean measurement, float [m].
        scale: Deviation of the measurements, float [m].
        mean: Mean of the attributes, float [k].
        deviation: Deviation of the attributes, float [k].
        factor: L, float [k, k].
        matrix: Weights from standardised measurements to attributes, float [m, k].
    """

    center: Tensor
    scale: Tensor
    mean: Tensor
    deviation: Tensor
    factor: Tensor
    matrix: Tensor

    def lift(self, levels: Tensor) -> Tensor:
        """Targets float [n, DIM], of length 1, for levels float [n, k]."""
        v = levels @ self.factor
        bias = -_BIAS * v.square().sum(1) / _CONSTANT
        rest = (_RADIUS**2 - v.square().sum(1) - bias.square()).clamp_min(1.0).sqrt()
        out = torch.zeros(len(levels), DIM)
        k = v.shape[1]
        out[:, :k], out[:, k], out[:, k + 1] = v, bias, rest
        return out / _RADIUS

    def reading(self) -> tuple[Tensor, Tensor]:
        """Weight [DIM, m] and bias [DIM] from standardised measurements to the joint space."""
        k = len(_NAMES)
        weight, bias = torch.zeros(DIM, len(self.center)), torch.zeros(DIM)
        weight[:k] = (self.matrix / self.deviation @ self.factor).T
        bias[:k] = -(self.mean / self.deviation) @ self.factor
        bias[k] = _CONSTANT
        return weight, bias


def attribute_space(z: Tensor, group: Tensor, center: Tensor, scale: Tensor, matrix: Tensor) -> Space:
    """The space from standardised measurements of cells.

    Args:
        z: Float [n, m].
        group: Source of each cell, int [n].
        center: Mean measurement, float [m].
        scale: Deviation of the measurements, float [m].
        matrix: Weights from standardised measurements to attributes, float [m, k].
    """
    values = z @ matrix
    mean, deviation = values.mean(0), values.std(0)
    values = (values - mean) / deviation
    inner = torch.cat([v - v.mean(0) for v in (values[group == g] for g in torch.unique(group))])
    covariance = inner.T @ inner / len(inner)
    inverse = torch.linalg.inv(covariance + torch.eye(len(mean)))
    return Space(center, scale, mean, deviation, torch.linalg.cholesky(inverse), matrix)


class Lexicon:
    """Draws sentences about tissues."""

    def __init__(self) -> None:
        self.table = profiles()
        self.by_name: dict[str, Profile] = {n.lower(): p for p in self.table for n in p.names}
        self.written = _written(self.by_name)

    def first(self, name: str) -> str:
        """The field's term for a name of the table."""
        return self.by_name[name.lower()].names[0]

    def say(self, name: str, rng: random.Random) -> str:
        """One sentence on a tissue: written, or made of a name and looks."""
        profile = self.by_name[name.lower()]
        if name in self.written and rng.random() < 0.4:
            return rng.choice(self.written[name])
        call = name if rng.random() < 0.4 else rng.choice(profile.names)
        return sentence(rng, call if rng.random() < 0.8 else None, profile.levels)[0]

    def draw(self, count: int, rng: random.Random) -> tuple[list[str], Tensor]:
        """``count`` sentences on any tissue of the table, and their levels float [count, k]."""
        pairs = draw(rng, self.table, int(count * 0.7))
        names = list(self.written)
        for _ in range(count - len(pairs)):
            name = rng.choice(names)
            pairs.append((rng.choice(self.written[name]), self.by_name[name.lower()].levels))
        return [s for s, _ in pairs], torch.stack([levels_vector(levels) for _, levels in pairs])


def _written(by_name: dict[str, Profile]) -> dict[str, list[str]]:
    """First name of a profile to the bundled descriptions of classes that are called the same."""
    from aczerots.text.descriptions import bundled_descriptions, known_classes

    out: dict[str, list[str]] = {}
    for profile in dict.fromkeys(p.names[0] for p in by_name.values()):
        for name in by_name[profile.lower()].names:
            for text in bundled_descriptions(name) or ():
                if text not in out.setdefault(profile, []):
                    out[profile].append(text)
    for name in known_classes():
        found = by_name.get(name.lower())
        if found is not None:
            out.setdefault(found.names[0], []).append(name)
    return {name: texts for name, texts in out.items() if texts}
