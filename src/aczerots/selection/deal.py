"""DEAL: where the model is unsure and likely to be wrong, as learned from its errors on drawn tiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import Floats, PoolView, Selection, take_top
from aczerots.selection.uncertainty import entropy
from aczerots.taxonomy import IGNORE

_MOST_CELLS = 50_000


def attended(posterior: NDArray[np.floating], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Probability attention (Xie et al., 2020) of a tile: posterior [m, C], its cells inside [m]; float64 [m, C].

    ``sum_j a_ij p_j`` with ``a_i`` the softmax over j of ``p_i . p_j``.
    """
    p = posterior.astype(np.float64)
    weight = np.exp(p @ p[inside].T)
    return np.asarray(weight @ p[inside] / weight.sum(axis=1, keepdims=True))


def logistic(x: NDArray[np.float64], wrong: NDArray[np.bool_], steps: int = 20) -> NDArray[np.float64]:
    """Weights [d] of a logistic regression of ``wrong`` [n] on ``x`` [n, d]; both outcomes weigh the same in total."""
    weight = np.where(wrong, 0.5 / wrong.sum(), 0.5 / (~wrong).sum())
    w = np.zeros(x.shape[1])
    # The penalty keeps the weights finite where the errors are separable.
    ridge = 1e-3 * np.eye(x.shape[1])
    for _ in range(steps):
        p = 1.0 / (1.0 + np.exp(-x @ w))
        gradient = x.T @ (weight * (p - wrong)) + ridge @ w
        w = w - np.linalg.solve((x * (weight * p * (1 - p))[:, None]).T @ x + ridge, gradient)
    return w


def difficulty(pool: PoolView, posterior: Floats) -> NDArray[np.float64]:
    """Learned probability that the model is wrong, [n, m]; ``1 - max p`` while no error is known.

    A linear layer on the probabilities [n, m, C] before and after attention, fitted to the errors at drawn cells.
    """
    known = pool.known_labels()
    cells = known != IGNORE
    wrong = posterior.argmax(axis=-1) != known
    if not (cells & wrong).any() or not (cells & ~wrong).any():
        return np.asarray(1.0 - posterior.max(axis=-1), dtype=np.float64)

    def inputs(tile: int) -> NDArray[np.float64]:
        p = posterior[tile]
        return np.concatenate([p, attended(p, pool.inside[tile]), np.ones((len(p), 1))], axis=1)

    drawn = [int(i) for i in np.flatnonzero(cells.any(axis=1))[np.argsort(pool.rank[cells.any(axis=1)])]]
    x = np.concatenate([inputs(i)[cells[i]] for i in drawn])
    y = np.concatenate([wrong[i][cells[i]] for i in drawn])
    step = -(-len(x) // _MOST_CELLS)
    kept = (x[::step], y[::step]) if y[::step].any() and not y[::step].all() else (x, y)
    w = logistic(*kept)
    return np.stack([1.0 / (1.0 + np.exp(-inputs(i) @ w)) for i in range(len(pool))])


class DealStrategy:
    """DEAL: mean of predictive entropy times learned semantic difficulty (Xie et al., ACCV 2020; their DS).

    DEAL comes with a network and a training scheme; here only its choice is re-implemented. The difficulty branch is
    fitted after the segmenter instead of with it, and the segmenter does not learn from it.
    """

    name = "deal"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose the tiles of highest mean difficulty times entropy; ``rng`` is not used."""
        posterior = pool.posterior()
        hard, unsure = difficulty(pool, posterior), entropy(posterior)
        cells: dict[str, NDArray[np.floating]] = {"difficulty": hard, "uncertainty": unsure, "product": hard * unsure}
        means = {k: pool.tile_mean(v).astype(np.float64) for k, v in cells.items()}
        return take_top(pool, budget, means["product"], means)
