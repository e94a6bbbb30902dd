"""A run folder belongs to one set of settings; those that came later were at their defaults."""

from pathlib import Path

import pytest

from aczerots.annotation.store.store import ProjectStore
from aczerots.config import SimulateSettings
from aczerots.errors import SettingsError
from aczerots.simulation.run_folder import RunFolder
from aczerots.simulation.simulate import _same_run


@pytest.fixture
def store(tmp_path: Path) -> ProjectStore:
    return RunFolder(tmp_path / "run").open_store()


@pytest.mark.parametrize("missing", ["first", "per_slide", "cache", "precision"])
def test_a_run_of_an_older_version_goes_on_with_defaults_only(store: ProjectStore, tmp_path: Path, missing: str):
    settings = SimulateSettings(dataset="phantom:3", unseen=("necrosis",))
    old = settings.model_dump(mode="json")
    del old[missing]
    store.rounds.remember("settings", old)
    _same_run(store, settings, tmp_path)
    store.rounds.remember("settings", old)
    other = {"first": "strategy", "per_slide": 2, "cache": "pooled", "precision": "bf16"}[missing]
    with pytest.raises(SettingsError, match=missing):
        _same_run(store, settings.model_copy(update={missing: other}), tmp_path)
    store.close()
