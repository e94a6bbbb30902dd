"""Text prototypes against hand-worked numbers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from aczerots.backbones.base import BackboneInfo, DenseFeatures
from aczerots.errors import InputError
from aczerots.taxonomy import Taxonomy, TissueClass
from aczerots.text.prototypes import text_prototypes


class FakeBackbone:
    """Knows a few sentences by heart; remembers how often it was asked."""

    def __init__(self, table: dict[str, list[float]]) -> None:
        self.table = table
        self.calls = 0

    @property
    def info(self) -> BackboneInfo:
        return BackboneInfo("fake", "1", "none", 2, 2, 8, 10.0)

    def encode_image(self, images: torch.Tensor) -> DenseFeatures:
        raise NotImplementedError

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        self.calls += 1
        return torch.tensor([self.table[s] for s in sentences])

    def to(self, device: torch.device | str) -> FakeBackbone:
        return self


def classes(**sentences: tuple[str, ...]) -> Taxonomy:
    return Taxonomy(classes=tuple(TissueClass(name=n, descriptions=d) for n, d in sentences.items()))


def test_mean_of_unit_embeddings_renormalised() -> None:
    # a: (1, 0) and (0, 1) meet at 45 degrees. b: (1, 0), (1, 0) and (0.6, 0.8) have the mean (2.6, 0.8) / 3
    # of length sqrt(7.4) / 3. c: one sentence alone.
    backbone = FakeBackbone({"x": [1.0, 0.0], "x2": [1.0, 0.0], "y": [0.0, 1.0], "z": [0.6, 0.8]})
    t = text_prototypes(backbone, classes(a=("x", "y"), b=("x", "x2", "z"), c=("z",)))
    half, root = 0.5**0.5, 7.4**0.5
    torch.testing.assert_close(t, torch.tensor([[half, half], [2.6 / root, 0.8 / root], [0.6, 0.8]]))
    assert t.dtype == torch.float32
    assert backbone.calls == 1


def test_a_long_embedding_weighs_no_more_than_a_short_one() -> None:
    backbone = FakeBackbone({"x": [1.0, 0.0], "y": [0.0, 50.0]})
    t = text_prototypes(backbone, classes(a=("x", "y")))
    torch.testing.assert_close(t, torch.full((1, 2), 0.5**0.5))


@pytest.mark.parametrize("nothing", [(), (" ",)])
def test_class_without_description_is_named(nothing: tuple[str, ...]) -> None:
    backbone = FakeBackbone({"x": [1.0, 0.0]})
    with pytest.raises(InputError, match="class 'b': the class has no description"):
        text_prototypes(backbone, classes(a=("x",), b=nothing))
    assert backbone.calls == 0


def test_opposite_sentences_are_refused_not_divided_by_zero() -> None:
    backbone = FakeBackbone({"x": [1.0, 0.0], "-x": [-1.0, 0.0]})
    with pytest.raises(InputError, match=r"class 'b'.*cancel out"):
        text_prototypes(backbone, classes(a=("x",), b=("x", "-x")))
