"""The paper's criterion: EUN + COT + CSA, each min-max scaled over the pool, summed, top N (Sec. 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import PoolView, Selection, check_budget, min_max, softmax, take_top

_BLOCK = 4096


def evidential(scores: NDArray[np.floating]) -> NDArray[np.float32]:
    """Subjective-logic uncertainty of raw class scores [..., C] (EUN), float32 [...] in (0, 1].

    Evidence e = ReLU(score), Dirichlet strength Q = sum(e + 1), uncertainty = C / Q.
    """
    strength = (np.maximum(scores, 0.0) + 1.0).sum(axis=-1)
    return np.asarray(scores.shape[-1] / strength, dtype=np.float32)


def contrast_divergence(
    features: NDArray[np.floating],
    posterior: NDArray[np.floating],
    reference: NDArray[np.floating],
    reference_posterior: NDArray[np.floating],
    neighbours: int = 5,
) -> NDArray[np.float32]:
    """Mean KL divergence from each cell's posterior to those of its K nearest labelled cells, float32 [q] (Eq. 8).

    Args:
        features: Cells without label [q, d].
        posterior: Their class distributions [q, C].
        reference: Labelled cells [r, d]; nearest by Euclidean distance.
        reference_posterior: Their class distributions [r, C].
        neighbours: K.
    """
    k = min(neighbours, len(reference))
    square = (reference**2).sum(axis=1)
    log_ref = np.log(np.maximum(reference_posterior, 1e-12))
    out = np.empty(len(features), dtype=np.float32)
    for start in range(0, len(features), _BLOCK):
        part = slice(start, start + _BLOCK)
        distance = square - 2.0 * features[part] @ reference.T
        near = np.argpartition(distance, k - 1, axis=1)[:, :k]
        p = np.maximum(posterior[part], 1e-12)
        out[part] = (p * np.log(p)).sum(axis=1) - np.einsum("qc,qc->q", p, log_ref[near].mean(axis=1))
    return out


def summarisation(features: NDArray[np.floating], vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Euclidean distance of each cell [..., d] to its nearest class vector [C, d], float32 [...] (Eq. 10, no mean)."""
    square = (features**2).sum(axis=-1, keepdims=True) + (vectors**2).sum(axis=1) - 2.0 * features @ vectors.T
    return np.asarray(np.sqrt(np.maximum(square, 0.0)).min(axis=-1), dtype=np.float32)


@dataclass(frozen=True)
class PaperStrategy:
    """EUN + COT + CSA over the seen classes, each the mean over a tile, min-max scaled over the pool.

    The paper compares every pixel with every labelled pixel; here feature cells are compared with a class-stratified
    reservoir of labelled cells, which is the same up to the reservoir's size.

    Attributes:
        terms: Which of ``uncertainty`` (EUN), ``contrast`` (COT), ``coverage`` (CSA) count.
        neighbours: K of Eq. 8.
        reservoir: Labelled cells that are compared with at most.
    """

    name = "paper"
    TERMS = ("uncertainty", "contrast", "coverage")

    terms: tuple[str, ...] = TERMS
    neighbours: int = 5
    reservoir: int = 5_000

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose the tiles of the highest sum; ``rng`` draws the reservoir."""
        check_budget(budget)
        features = pool.features.astype(np.float32)
        raw = {
            "uncertainty": pool.tile_mean(evidential(pool.scores[..., pool.seen])),
            "contrast": self._contrast(pool, features, rng),
            "coverage": pool.tile_mean(summarisation(features, pool.vectors[pool.seen])),
        }
        scaled = {k: min_max(raw[k], pool.candidates) for k in self.TERMS}
        total = np.sum([scaled[k] for k in self.terms], axis=0) if self.terms else np.zeros(len(pool))
        return take_top(pool, budget, total, scaled)

    def _contrast(self, pool: PoolView, features: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """COT per tile [n]; 0 without labelled tiles."""
        out = np.zeros(len(pool), dtype=np.float32)
        known = pool.inside & pool.labelled[:, None]
        if not known.any():
            return out
        p = softmax(pool.scores[..., pool.seen])
        keep = _reservoir(p[known].argmax(axis=1), self.reservoir, rng)
        reference, classes = features[known][keep], p[known][keep]
        for i in pool.candidates:
            cells = pool.inside[i]
            kl = contrast_divergence(features[i][cells], p[i][cells], reference, classes, self.neighbours)
            out[i] = kl.mean()
        return out


def _reservoir(classes: NDArray[np.intp], most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Positions of at most ``most`` cells, as even over the classes as their numbers allow."""
    if len(classes) <= most:
        return np.arange(len(classes))
    shuffled = rng.permutation(len(classes))
    rank = np.empty(len(classes), dtype=np.int64)
    for c in np.unique(classes):
        mine = shuffled[classes[shuffled] == c]
        rank[mine] = np.arange(len(mine))
    kept: NDArray[np.intp] = np.sort(shuffled[np.argsort(rank[shuffled], kind="stable")][:most])
    return kept
