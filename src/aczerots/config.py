"""Settings of a run: one place, checked once, stored with the results."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aczerots.errors import SettingsError

TextMode = Literal["descriptions", "names", "templates"]
CacheMode = Literal["dense", "pooled", "off"]
Precision = Literal["fp32", "bf16", "fp16"]
First = Literal["random", "strategy"]


class SimulateSettings(BaseModel):
    """What decides the numbers of a simulated run.

    Attributes:
        dataset: Dataset locator, for example ``folder:PATH`` or ``phantom:30``.
        unseen: Names of the unseen classes; empty takes the dataset's own marks.
        strategy: Name of the strategy.
        without: Terms of the strategy that are switched off.
        preset: Name of the model preset.
        backbone: Backbone locator.
        refine_with: Locator of a vision-only model whose patch affinities regularise the backbone's grids; or None.
        precision: Floating-point format of the backbone's forward pass over images.
        text: What stands for a class in words.
        descriptions: File of descriptions that win over those of the dataset; None takes the latter.
        cache: ``dense`` keeps the grids of all tiles on disk, ``off`` in memory, with equal numbers. ``pooled``
            keeps coarse grids of the pool for selection and whole grids of the tiles that a fit sees.
        tile_size: Side of a tile in pixels.
        rounds: Last round; round 0 has no labels, round 1 the initial tiles.
        initial: Share of the pool annotated for round 1.
        first: What chooses the tiles of round 1: ``random``, as in the paper, or the ``strategy``, which knows the
            zero-shot answer already.
        budget: Share of the pool that each later round asks for.
        per_slide: Tiles of one slide that a round asks for at most; None sets no limit.
        per_patient: The same of one patient.
        seed: Seed of everything random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    unseen: tuple[str, ...] = ()
    strategy: str = "aczerots"
    without: tuple[str, ...] = ()
    preset: str = "prozs"
    backbone: str = "embedded"
    refine_with: str | None = None
    precision: Precision = "fp32"
    text: TextMode = "descriptions"
    descriptions: str | None = None
    cache: CacheMode = "dense"
    tile_size: int = Field(224, ge=32, le=4096)
    rounds: int = Field(6, ge=0)
    initial: float = Field(0.05, gt=0, le=1)
    first: First = "random"
    budget: float = Field(0.15, gt=0, le=1)
    per_slide: int | None = Field(None, ge=1)
    per_patient: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)


def read_settings(**values: object) -> SimulateSettings:
    """Settings from keyword arguments.

    Raises:
        SettingsError: A value is out of range or of the wrong kind; the first is named.
    """
    try:
        return SimulateSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + ".".join(str(p) for p in first["loc"][:1]).replace("_", "-")
        raise SettingsError(f"{first['msg'].lower()}, got {first['input']!r}", where=option) from error


def cache_folder() -> Path:
    """Where embeddings are cached: ``$ACZEROTS_CACHE``, or ``aczerots`` in the user's cache folder."""
    if chosen := os.environ.get("ACZEROTS_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "aczerots"
