"""At most so many tiles of a slide, or of a patient, in one selection."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aczerots.errors import SettingsError


@dataclass(frozen=True)
class Limit:
    """At most ``most`` >= 1 tiles of a group; ``group`` is the group of each tile, integers [n]."""

    group: NDArray[np.intp]
    most: int

    def __post_init__(self) -> None:
        """Refuse a limit below 1."""
        if self.most < 1:
            raise SettingsError(f"at most {self.most} tiles per group leaves nothing to choose", fix="Allow at least 1")

    def kept(self, tiles: NDArray[np.intp]) -> bool:
        """Whether the tiles keep to the limit."""
        return len(tiles) == 0 or int(np.bincount(self.group[tiles]).max()) <= self.most


def limit_by(names: Iterable[Hashable], most: int) -> Limit:
    """A limit on tiles of the same group, from the name of each tile's group."""
    number: dict[Hashable, int] = {}
    return Limit(np.array([number.setdefault(name, len(number)) for name in names], dtype=np.intp), most)


def tile_limits(
    slides: Sequence[str],
    patients: Mapping[str, str],
    *,
    per_slide: int | None = None,
    per_patient: int | None = None,
) -> tuple[Limit, ...]:
    """The limits of a round: so many tiles per slide and per patient at most.

    ``slides`` is the slide of each tile, [n]; a slide that is not in ``patients`` counts as a patient of its own.

    Raises:
        SettingsError: A limit below one, or one per patient where no patient is known.
    """
    limits = [] if per_slide is None else [limit_by(slides, per_slide)]
    if per_patient is not None:
        if not any(slide in patients for slide in set(slides)):
            fix = "Name a CSV file with the columns slide and patient (projects), or a column patient in split.csv"
            raise SettingsError("no patient of these slides is known", where="--per-patient", fix=fix)
        names = (("patient", patients[s]) if s in patients else ("slide", s) for s in slides)
        limits.append(limit_by(names, per_patient))
    return tuple(limits)


class Allowance:
    """The tiles that may still be chosen while a selection grows.

    A greedy choice that skips tiles that are not allowed is optimal for a sum of scores if each slide is of one
    patient, and at least half as good as the best for a monotone submodular gain under one limit (Fisher, Nemhauser
    and Wolsey, 1978). Tiles that are labelled already, bool [n], cannot be chosen and count for no limit.

    Attributes:
        open: Tiles that may be chosen, bool [n].
    """

    def __init__(self, labelled: NDArray[np.bool_], limits: Sequence[Limit] = ()) -> None:
        self.open = ~labelled
        self._limits = [(limit, np.zeros(int(limit.group.max(initial=0)) + 1, dtype=np.intp)) for limit in limits]

    @property
    def limited(self) -> bool:
        """Whether a choice may close other tiles."""
        return bool(self._limits)

    def take(self, tile: int) -> None:
        """Note that ``tile`` is chosen, which may close the other tiles of its groups."""
        self.open[tile] = False
        for limit, taken in self._limits:
            group = limit.group[tile]
            taken[group] += 1
            if taken[group] == limit.most:
                self.open &= limit.group != group

    def take_in_order(self, order: NDArray[np.intp], number: int) -> NDArray[np.intp]:
        """Take the first ``number`` tiles of ``order`` that the limits allow, fewer if there are not as many."""
        if not self._limits:
            chosen = order[self.open[order]][:number]
            self.open[chosen] = False
            return chosen
        taken: list[int] = []
        for tile in order:
            if len(taken) == number:
                break
            if self.open[tile]:
                taken.append(int(tile))
                self.take(int(tile))
        return np.array(taken, dtype=np.intp)
