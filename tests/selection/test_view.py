"""What a run tells strategies of its pool: labels by cell and MC-dropout posteriors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from aczerots.backbones.cache import FeatureStore
from aczerots.backbones.locate import locate_backbone
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import build_model, locate_preset
from aczerots.selection.base import PoolView
from aczerots.selection.pool_view import changed_fraction, dropout_posteriors, view_pool
from aczerots.slides.base import Box, Tile
from aczerots.slides.image import ArraySlide
from aczerots.taxonomy import IGNORE, Taxonomy, TissueClass

TAXONOMY = Taxonomy(classes=(TissueClass(name="tumor"), TissueClass(name="stroma", seen=False)))

TILES = [Tile(slide="noise", box=b, window=b, size=64) for b in (Box(64 * i, 0, 64, 64) for i in range(3))]


@pytest.fixture(scope="module")
def grids() -> FeatureStore:
    image = np.random.default_rng(0).integers(0, 256, (64, 192, 3), dtype=np.uint8)
    slide = ArraySlide("noise", image)
    return FeatureStore(TILES, {"noise": slide}, locate_backbone("embedded", "cpu"), None)


def model_of(preset: str, trained: bool) -> ProZS:
    info = locate_backbone("embedded", "cpu").info
    text = torch.nn.functional.normalize(torch.randn(2, info.dim, generator=torch.Generator().manual_seed(0)), dim=1)
    model = build_model(locate_preset(preset), info, text, torch.from_numpy(TAXONOMY.seen), 0)
    if trained:
        torch.nn.init.normal_(model.decoder.correct.weight, std=0.1, generator=torch.Generator().manual_seed(1))
    return model


def view(model: ProZS, grids: FeatureStore) -> PoolView:
    mask = np.full((64, 64), IGNORE, dtype=np.uint8)
    mask[:, :32] = 0
    return view_pool(model, grids, TILES, {1: mask}, TAXONOMY)


def test_labels_lie_where_the_expert_drew(grids: FeatureStore):
    pool = view(model_of("prozs", trained=False), grids)
    rows, columns = pool.rows_and_columns
    known = pool.known_labels().reshape(3, rows, columns)
    assert (known[[0, 2]] == IGNORE).all()
    assert (known[1][:, : columns // 2] == 0).all()
    assert (known[1][:, (columns + 1) // 2 :] == IGNORE).all()
    assert pool.labelled.tolist() == [False, True, False]


def test_the_cost_of_a_tile_is_its_outlines_as_predicted(grids: FeatureStore):
    pool = view(model_of("prozs", trained=True), grids)
    rows, columns = pool.rows_and_columns
    labels = pool.scores.argmax(axis=-1).reshape(3, rows, columns)
    # One of the two classes is drawn: every step between them is an outline.
    steps = (labels[:, 1:] != labels[:, :-1]).sum(axis=(1, 2)) + (labels[:, :, 1:] != labels[:, :, :-1]).sum(
        axis=(1, 2)
    )
    assert steps.max() > 0
    assert pool.cost == pytest.approx(1 + steps / np.sqrt(rows * columns))


def test_dropout_states_differ_and_repeat_and_leave_the_model_alone(grids: FeatureStore):
    model = model_of("prozs", trained=True)
    pool = view(model, grids)
    first, again = list(pool.dropout_posteriors()), list(pool.dropout_posteriors())
    assert len(first) > 1
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.allclose(first[0], first[1], atol=1e-3)
    assert not model.training
    assert not any(m.training for m in model.modules())
    # One state may turn a whole tile over, most keep most answers.
    calm = pool.posterior().argmax(axis=-1)
    assert np.mean([(state.argmax(axis=-1) == calm).mean() for state in first]) > 0.6
    assert first[0].sum(axis=-1) == pytest.approx(np.ones((3, pool.inside.shape[1])), abs=1e-5)


def test_a_model_without_dropout_has_one_state(grids: FeatureStore):
    model = model_of("paper", trained=False)
    states = list(dropout_posteriors(model, grids, number=2))
    assert np.array_equal(states[0], states[1])
    assert states[0] == pytest.approx(view(model, grids).posterior(), abs=1e-5)


def test_a_large_view_lies_on_disk_and_is_the_same(
    grids: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = model_of("prozs", trained=True)
    held = view(model, grids)
    monkeypatch.setattr("aczerots.selection.pool_view._HELD", 0)
    pool = view_pool(model, grids, TILES, {}, TAXONOMY, scratch=tmp_path / "new")
    assert isinstance(pool.features, np.memmap)
    assert isinstance(pool.scores, np.memmap)
    assert np.array_equal(pool.features, held.features)
    assert np.array_equal(pool.scores, held.scores)
    assert list((tmp_path / "new").iterdir()) == []


def test_the_share_of_changed_cells_is_that_of_two_views(grids: FeatureStore):
    one, other = model_of("prozs", trained=False), model_of("prozs", trained=True)
    views = [view(m, grids) for m in (one, other)]
    changed = (views[0].scores.argmax(axis=-1) != views[1].scores.argmax(axis=-1))[views[0].inside]
    assert changed_fraction(one, other, grids, TILES) == pytest.approx(changed.mean())
    assert changed_fraction(one, one, grids, TILES) == 0.0
