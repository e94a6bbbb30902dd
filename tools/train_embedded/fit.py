"""Trains both towers of the embedded backbone.

1. Measure crops of real images, phantom slides and drawn tissues, as they are and restained.
2. Build the attribute space and teach the text tower to turn sentences into profiles in it.
3. Guess the tissue of every real cell: the text it is nearest to, among those its source may hold, with fractions
   drawn towards the expected ones. Phantom and drawn cells are known.
4. Teach both towers to agree on these cells, the text tower also to keep its profiles; repeat 3 on the way.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from aczerots.backbones.embedded.backbone import FORMAT
from aczerots.backbones.embedded.towers import LAYER_DIM, LEARNED_DIM, ImageTower, TextTower
from tools.train_embedded.cells import (
    SIDE,
    DrawnCells,
    RealCells,
    Say,
    phantom_cells,
    real_cells,
    synthetic_cells,
)
from tools.train_embedded.concepts import relations
from tools.train_embedded.data import sources
from tools.train_embedded.lexicon import Lexicon, Space, attribute_space
from tools.train_embedded.readings import fitted_readings


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training run; the defaults made the bundled weights."""

    seed: int = 0
    tiles: int = 110
    phantom: int = 80
    drawn: int = 560
    warm: int = 600
    steps: int = 500
    kappa: float = 15.0
    pull: float = 0.1
    rate: float = 1e-3
    decay: float = 1e-2
    noise: float = 0.4
    keep_profile: float = 0.2
    keep_reading: float = 0.06
    anchor: float = 0.8
    guess_every: int = 300
    batch_tiles: int = 64
    batch_cells: int = 40
    phantom_fraction: float = 0.2
    drawn_fraction: float = 0.3


_WEIGHT = {"luad": 4.0, "her2st": 2.0, "skin": 1.5, "lung_n": 0.5, "lung_fields": 0.8}
"""How often a source is drawn, 1 for all others: sources with several tissues per image teach more."""


class Trainer:
    """Holds what the steps share.

    Args:
        settings: How to train.
        real: Cells of real images.
        drawn: Phantom and drawn cells with their fractions of a batch.
        say: Takes progress.
    """

    def __init__(
        self, settings: TrainingSettings, real: RealCells, drawn: list[tuple[DrawnCells, float]], say: Say
    ) -> None:
        self.settings, self.real, self.say = settings, real, say
        torch.manual_seed(settings.seed)
        self.rng = random.Random(settings.seed)
        self.members = [(real.source == i).nonzero()[:, 0] for i in range(len(real.mixes))]
        sample = torch.cat([real.views[0][m[:80]][:, ::3].flatten(0, 1) for m in self.members]).float()
        group = torch.cat(
            [torch.full((len(m[:80]) * len(range(0, SIDE**2, 3)),), i) for i, m in enumerate(self.members)]
        )
        self.lexicon = Lexicon()
        center, scale = sample.mean(0), sample.std(0) + 1e-6
        matrix = fitted_readings([cells for cells, _ in drawn], self.lexicon, center, scale, settings.pull)
        self.space: Space = attribute_space(((sample - center) / scale).clamp(-3, 3), group, center, scale, matrix)
        self.image, self.text = ImageTower(sample.shape[1]), TextTower()
        _prepare(self.image, self.space, sample)
        self.sample = sample
        held = {n for mix in real.mixes for n in mix} | {n for cells, _ in drawn for k in cells.names for n in k}
        self.concepts = sorted({self.lexicon.first(n) for n in held})
        self.spread, related = relations(self.concepts)
        self.masked = related | _alike(self.lexicon, self.concepts)
        self.prior = torch.stack([self._fractions(mix) for mix in real.mixes])
        self.drawn = [(cells.views, cells.truth @ self._kinds(cells), fraction) for cells, fraction in drawn]

    def _fractions(self, mix: dict[str, float]) -> Tensor:
        out = torch.zeros(len(self.concepts))
        for name, fraction in mix.items():
            out[self.concepts.index(self.lexicon.first(name))] += fraction
        return out

    def _kinds(self, cells: DrawnCells) -> Tensor:
        return torch.stack([self._fractions({n: 1 / len(names) for n in names}) for names in cells.names])

    def warm_text(self) -> None:
        """Teach the text tower the profiles."""
        steps = self.settings.warm
        optimizer = torch.optim.Adam(self.text.parameters(), lr=3e-3)
        for step in range(steps):
            loss = self._profile_loss(96)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps) + 1e-5

    def _profile_loss(self, count: int) -> Tensor:
        sentences, levels = self.lexicon.draw(count, self.rng)
        loss: Tensor = (self.text.raw(sentences) - self.space.lift(levels)).square().sum(1).mean() * 36
        return loss

    def standard(self, cells: Tensor) -> Tensor:
        """Standardised measurements of cells float16 [..., m]."""
        return ((cells.float() - self.space.center) / self.space.scale).clamp(-3, 3)

    @torch.no_grad()
    def logits(self) -> Tensor:
        """Smoothed scores of all concepts on the real tiles, float [tiles, cells, concepts]."""
        draws = [self.text([self.lexicon.say(n, random.Random(s)) for n in self.concepts]) for s in range(6)]
        texts = F.normalize(torch.stack(draws).mean(0), dim=1)
        parts = []
        for views in torch.split(self.real.views[0], 64):
            z = self.standard(views)
            parts.append(
                F.normalize(self.image.reading(z) + self.image.correct(self.image.hidden(z)), dim=-1) @ texts.T
            )
        scores = torch.cat(parts) * self.settings.kappa
        maps = scores.view(-1, SIDE, SIDE, len(self.concepts)).permute(0, 3, 1, 2)
        near = F.avg_pool2d(maps, 3, 1, 1, count_include_pad=False)
        return (0.5 * near + 0.5 * maps).flatten(2).transpose(1, 2)

    @torch.no_grad()
    def guess(self, scores: Tensor) -> Tensor:
        """Posterior of the concepts that each source may hold, its fractions half drawn to the expected ones."""
        out = torch.zeros_like(scores)
        for i, members in enumerate(self.members):
            active = (self.prior[i] > 0).nonzero()[:, 0]
            wanted, bias = self.prior[i][active], torch.zeros(len(active))
            for _ in range(8):
                posterior = (scores[members][:, :, active] + bias).softmax(-1)
                fraction = posterior.mean((0, 1))
                bias = bias + 0.7 * ((0.5 * wanted + 0.5 * fraction) / (fraction + 1e-4)).log()
            full = torch.zeros(*posterior.shape[:2], len(self.concepts))
            full[:, :, active] = posterior
            out[members] = full
        return out

    def batch(self, truth: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised cells [n, m] and their concept fractions [n, c]: real, phantom and drawn."""
        r = self.settings
        counts = [int(r.batch_tiles * fraction) for _, _, fraction in self.drawn]
        weights = [_WEIGHT.get(name, 1.0) for name in self.real.names]
        picked = self.rng.choices(range(len(self.members)), weights=weights, k=r.batch_tiles - sum(counts))
        tiles = torch.tensor([int(m[self.rng.randrange(len(m))]) for m in (self.members[i] for i in picked)])
        parts = [(self.real.views, truth, tiles)]
        for (views, fractions, _), count in zip(self.drawn, counts, strict=True):
            parts.append((views, fractions, torch.randint(len(fractions), (count,))))
        cells, labels = [], []
        for views, fractions, index in parts:
            view = views[self.rng.randrange(len(views))]
            where = torch.randint(0, SIDE**2, (len(index), r.batch_cells))
            cells.append(view[index[:, None], where].flatten(0, 1))
            labels.append(fractions[index[:, None], where].flatten(0, 1))
        z = self.standard(torch.cat(cells))
        return z + r.noise * torch.randn_like(z), torch.cat(labels)

    def loss(self, z: Tensor, fractions: Tensor) -> Tensor:
        """Cross-entropy over concepts that are fair opponents, plus what keeps both towers near the profiles."""
        r = self.settings
        change = self.image.correct(F.dropout(self.image.hidden(z), 0.1))
        aligned = F.normalize(self.image.reading(z) + change, dim=-1)
        texts = self.text([self.lexicon.say(n, self.rng) for n in self.concepts])
        target = torch.multinomial((fractions @ self.spread).clamp_min(0) + 1e-9, 1)[:, 0]
        scores = (aligned @ texts.T * r.kappa).masked_fill(self.masked[target], -1e4)
        k = len(self.space.mean) + 2
        keep = r.keep_profile * self._profile_loss(48) + r.keep_reading * change[:, :k].square().sum(1).mean()
        loss: Tensor = F.cross_entropy(scores, target) + keep
        return loss

    def fit(self) -> None:
        """Train both towers."""
        r = self.settings
        groups: list[dict[str, Any]] = [
            {"params": [p for n, p in self.image.named_parameters() if n.split(".")[0] in {"enter", "mix", "correct"}]},
            {"params": self.image.reading.parameters(), "lr": 0.1 * r.rate},
            {"params": self.text.parameters(), "lr": 0.5 * r.rate},
        ]
        optimizer = torch.optim.AdamW(groups, lr=r.rate, weight_decay=r.decay)
        decline = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.01 - step / r.steps)
        first = self.logits()
        truth = self.guess(first)
        for step in range(r.steps):
            if step and step % r.guess_every == 0:
                truth = self.guess(r.anchor * first + (1 - r.anchor) * self.logits())
            loss = self.loss(*self.batch(truth))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            decline.step()
            if step % 100 == 99:
                self.say(f"step {step + 1} of {r.steps}, loss {loss.item():.3f}")
        with torch.no_grad():
            hidden = self.image.hidden(self.standard(self.sample))
            self.image.tokens.weight.data, self.image.tokens.bias.data = _principal(hidden, LEARNED_DIM, 0.01)


def _principal(x: Tensor, count: int, least: float) -> tuple[Tensor, Tensor]:
    """Whitening onto the first principal components: weight [count, m] and bias [count]."""
    mean = x.mean(0)
    values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    scale = values.flip(0)[:count].clamp_min(0).sqrt().clamp_min(least)
    weight = vectors.flip(1)[:, :count].T / scale[:, None]
    return weight, -(weight @ mean)


@torch.no_grad()
def _prepare(image: ImageTower, space: Space, sample: Tensor) -> None:
    """Fixed parts of the image tower and the first reading of the attributes."""
    image.center.copy_(space.center)
    image.scale.copy_(space.scale)
    image.reading.weight.data, image.reading.bias.data = space.reading()
    z = ((sample - space.center) / space.scale).clamp(-3, 3)
    image.principal.weight.data, image.principal.bias.data = _principal(z, LAYER_DIM - LEARNED_DIM, 0.2)


def _alike(lexicon: Lexicon, concepts: list[str]) -> Tensor:
    """Bool [c, c]: concepts whose profiles are too alike to be held against each other."""
    from tools.train_embedded.lexicon import levels_vector

    v = F.normalize(torch.stack([levels_vector(lexicon.by_name[c.lower()].levels) for c in concepts]), dim=1)
    return (v @ v.T > 0.85) & ~torch.eye(len(concepts), dtype=torch.bool)


def save(image: ImageTower, text: TextTower, settings: TrainingSettings, file: Path) -> None:
    """Write the weights, float16 where that loses nothing that matters."""
    from safetensors.torch import save_file

    state = {f"image.{k}": v.contiguous() for k, v in image.state_dict().items()}
    state |= {f"text.{k}": v.half().contiguous() for k, v in text.state_dict().items()}
    facts = {"format": FORMAT, "logit_scale": str(settings.kappa), "recipe": str(asdict(settings))}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, file, metadata=facts)


def train(data: Path, settings: TrainingSettings, say: Say) -> tuple[ImageTower, TextTower]:
    """Both towers, trained.

    Args:
        data: Folder with ``pretrain``, ``luad``, ``ebhi``, ``glas``, ``her2st`` and ``slides``.
        settings: How to train.
        say: Takes lines of progress.

    Raises:
        InputError: No training image is there, or one cannot be read.
    """
    rng = np.random.default_rng(settings.seed)
    real = real_cells(sources(data), settings.tiles, rng, say)
    drawn = [
        (phantom_cells(settings.phantom, rng, say), settings.phantom_fraction),
        (synthetic_cells(settings.drawn, rng, say), settings.drawn_fraction),
    ]
    trainer = Trainer(settings, real, drawn, say)
    trainer.warm_text()
    trainer.fit()
    return trainer.image, trainer.text
