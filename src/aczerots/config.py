"""Settings of a run: one place, checked once, stored with the results."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from aczerots.errors import SettingsError, first_complaint

TextMode = Literal["descriptions", "names", "templates"]
CacheMode = Literal["dense", "pooled", "off"]
Precision = Literal["fp32", "bf16", "fp16"]
First = Literal["random", "strategy"]

TileSize = Annotated[int, Field(ge=32, le=4096)]
PerRound = Annotated[int, Field(ge=1)] | None
Seed = Annotated[int, Field(ge=0)]


class SimulateSettings(BaseModel):
    """What decides the numbers of a simulated run.

    Attributes:
        dataset: Dataset locator, for example ``folder:PATH`` or ``phantom:30``.
        unseen: Names of the unseen classes; empty takes the dataset's own marks.
        strategy: Name of the strategy.
        without: Terms of the strategy that are switched off.
        preset: Name of the model preset.
        backbone: Backbone locator.
        refine_with: Locator of a vision-only model whose patch affinities smooth the dense features, or None.
        precision: Floating-point format of the backbone's forward pass over images.
        text: What stands for a class in the text encoder.
        descriptions: File of descriptions that win over those of the dataset; None takes the latter.
        cache: ``dense`` keeps the dense features of all tiles on disk, ``off`` in memory, with equal numbers.
            ``pooled`` keeps coarse features of the pool for selection and full ones of the tiles that a fit sees.
        tile_size: Side of a tile in pixels, as the backbone sees it.
        rounds: Last round; round 0 has no labels, round 1 the initial tiles.
        initial: Fraction of the pool annotated for round 1.
        first: What chooses the tiles of round 1: ``random``, as in the paper, or the ``strategy``, which starts
            from the zero-shot model.
        budget: Fraction of the pool that each later round asks for.
        per_slide: Tiles of one slide that a round asks for at most; None sets no limit.
        per_patient: The same of one patient.
        seed: Seed of everything random.

    Raises:
        SettingsError: A value is out of range or of the wrong kind; the first is named.
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
    tile_size: TileSize = 224
    rounds: int = Field(6, ge=0)
    initial: float = Field(0.05, gt=0, le=1)
    first: First = "random"
    budget: float = Field(0.15, gt=0, le=1)
    per_slide: PerRound = None
    per_patient: PerRound = None
    seed: Seed = 0

    @model_validator(mode="wrap")
    @classmethod
    def _name_the_option(cls, values: Any, validate: ModelWrapValidatorHandler[SimulateSettings]) -> SimulateSettings:
        try:
            return validate(values)
        except ValidationError as error:
            raise option_error(error) from error


def option_error(error: ValidationError) -> SettingsError:
    """The first complaint about settings, as one about an option of the command line."""
    key, what = first_complaint(error)
    return SettingsError(what, where="--" + key.partition(".")[0].replace("_", "-"))


def cache_folder() -> Path:
    """Where dense features are cached: ``$ACZEROTS_CACHE``, or ``aczerots`` in the user's cache folder."""
    if chosen := os.environ.get("ACZEROTS_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "aczerots"
