"""Common to the ablations: parts of a dataset, fits to tiles that only the seed chooses, t-intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from aczerots.backbones.base import Backbone
from aczerots.config import cache_folder
from aczerots.datasets.locate import locate_dataset
from aczerots.engine.progress import Silent
from aczerots.evaluate import Metrics
from aczerots.loop.expert import draw
from aczerots.loop.pool import Pool, open_pool
from aczerots.predict.segmenter import Segmenter
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import Preset
from aczerots.simulation.evaluation import Evaluation, check_truth, open_evaluation
from aczerots.slides.tiling import common_mpp
from aczerots.taxonomy import Taxonomy
from aczerots.text.descriptions import describe_taxonomy
from aczerots.text.prototypes import text_prototypes

TILE = 224


@dataclass(frozen=True)
class Trial:
    """A dataset under one set of classes and descriptions.

    Attributes:
        pool: Its training part.
        evaluation: Its truth and its test part.
    """

    pool: Pool
    evaluation: Evaluation

    def draw(self, position: int) -> NDArray[np.uint8]:
        """What the simulated expert draws in a tile: label ids uint8 [size, size]."""
        tile = self.pool.tiles[position]
        return draw(self.evaluation.dataset[tile.slide].truth, tile, self.pool.taxonomy)

    def segmenter(self, model: ProZS) -> Segmenter:
        """The model with its backbone."""
        return Segmenter(model, self.pool.card("zeroshot", 0), self.pool.backbone)

    def measure(self, model: ProZS) -> Metrics:
        """Metrics on the test part."""
        return self.evaluation.measure(self.segmenter(model), Silent())

    def under(self, taxonomy: Taxonomy) -> Trial:
        """The same dataset under other classes or descriptions."""
        text = text_prototypes(self.pool.backbone, taxonomy).cpu()
        return Trial(replace(self.pool, taxonomy=taxonomy, text=text), self.evaluation)


def open_trial(locator: str, backbone: Backbone) -> Trial:
    """A dataset with its embedded pool and test part, under its own classes and descriptions."""
    dataset = locate_dataset(locator)
    check_truth(dataset, ("train", "test"))
    tiles, cache = dataset.tiles("train", TILE), cache_folder()
    slides = {s.slide.id: s.slide for s in dataset.samples}
    mpp = common_mpp(tiles)
    words = describe_taxonomy(dataset.taxonomy, "descriptions")
    pool = open_pool(words, tiles, slides, backbone, cache=cache, progress=Silent(), mpp=mpp)
    return Trial(pool, open_evaluation(dataset, backbone, TILE, mpp, cache, Silent()))


def fit_once(trial: Trial, preset: Preset, fraction: float, seed: int) -> Metrics:
    """Metrics after a fit to tiles that only the seed and the fraction choose."""
    count = len(trial.pool.tiles)
    drawn = np.random.default_rng([seed, count]).permutation(count)[: max(1, round(fraction * count))]
    return trial.measure(trial.pool.train(preset, {int(i): trial.draw(int(i)) for i in sorted(drawn)}, seed))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half width of its 95 % t-interval; the latter is NaN for fewer than two values."""
    x = np.asarray(values, dtype=float)
    if len(x) < 2:
        return float(x.mean()), float("nan")
    return float(x.mean()), float(stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))


def plain(values: Sequence[float]) -> str:
    """Mean and half width as text."""
    mean, half = interval(values)
    return f"{mean:.3f}" if np.isnan(half) else f"{mean:.3f} ± {half:.3f}"


def signed(values: Sequence[float], others: Sequence[float]) -> str:
    """Paired difference as text, bold where its interval leaves out zero."""
    mean, half = interval([a - b for a, b in zip(values, others, strict=True)])
    text = f"{mean:+.3f}" if np.isnan(half) else f"{mean:+.3f} ± {half:.3f}"
    return f"**{text}**" if abs(mean) > half else text
