"""The phantom: procedural H&E slides of nine tissues with exact truth."""

from __future__ import annotations

from aczerots.datasets.base import Dataset, Sample
from aczerots.datasets.phantom.classes import phantom_taxonomy
from aczerots.datasets.phantom.slide import PhantomLabels, PhantomSlide, SlideRecipe
from aczerots.datasets.split import seeded_split
from aczerots.errors import SettingsError
from aczerots.slides.pixels import PixelCache

_CACHE_BYTES = 128 * 2**20


def phantom_dataset(count: int, size: int = 448, seed: int = 0, mpp: float = 0.5) -> Dataset:
    """``count`` square slides of ``size`` pixels on a side, 70 % of them the pool; generated when they are read.

    The same seed gives the same slides and split in any process.

    Raises:
        SettingsError: Fewer than 2 slides, a side outside 64-8192, an mpp outside 0.2-4, or a negative seed.
    """
    if count < 2:
        raise SettingsError(f"{count} phantom slides are too few", fix="Ask for at least 2, as in phantom:60")
    if not 64 <= size <= 8192:
        raise SettingsError(f"phantom size {size} is out of range", fix="Use 64 to 8192 pixels")
    if not 0.2 <= mpp <= 4:
        raise SettingsError(f"phantom mpp {mpp} is out of range", fix="Use 0.2 to 4 micrometres per pixel")
    if seed < 0:
        raise SettingsError(f"the seed {seed} is negative", fix="Use 0 or more")
    cache = PixelCache(_CACHE_BYTES)
    slides = [PhantomSlide(SlideRecipe(seed, i, (size, size), mpp), cache) for i in range(count)]
    split = seeded_split([s.id for s in slides], seed)
    samples = tuple(Sample(s, PhantomLabels(s), split[s.id]) for s in slides)
    return Dataset("phantom", phantom_taxonomy(), samples)
