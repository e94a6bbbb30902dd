"""Protocols: those that are packaged hold, and wrong files are explained by file and key."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.datasets.layouts import make_bcss, make_voc

from aczerots.datasets.locate import locate_dataset
from aczerots.errors import InputError, SettingsError
from aczerots.selection.locate import STRATEGIES
from aczerots.simulation.experiment.planned import plan_runs
from aczerots.simulation.experiment.protocol import locate_protocol, narrowed, packaged_protocols, parse_protocol

SMALL = """
name = "small"
title = "Small"
[[datasets]]
name = "a"
locator = "phantom:6"
unseen = [["necrosis"], ["blood", "necrosis"]]
[[datasets]]
name = "b"
locator = "folder:{data}/b"
[common]
seeds = 2
[[grid]]
strategies = ["random", { name = "aczerots", without = ["coverage"] }]
[[grid]]
datasets = ["a"]
strategies = ["random"]
presets = ["prozs", "paper"]
seeds = [0, 7]
"""


OF_RESULTS = sorted((Path(__file__).parents[2] / "benchmarks" / "protocols").glob("*.toml"))
"""What docs/results.md was made with."""


@pytest.mark.parametrize("name", [*packaged_protocols(), *map(str, OF_RESULTS)])
def test_shipped_protocols_give_runs_with_folders_of_their_own(name: str):
    protocol = locate_protocol(name)
    assert protocol.name == Path(name).stem
    runs = plan_runs(protocol, Path("anywhere"))
    assert len({r.folder for r in runs}) == len(runs) > 0
    assert {r.settings.seed for r in runs} == set(range(5))


def test_what_the_issue_asks_for_is_there():
    assert set(packaged_protocols()) == {
        "paper-tnbc", "paper-hpbc", "paper-voc", "luad", "ebhi", "glas", "phantom", "ablations",
    }  # fmt: skip
    for name in ("luad", "ebhi", "glas", "phantom"):
        (grid,) = locate_protocol(name).grid
        assert {c.name for c in grid.strategies} == set(STRATEGIES)
        (budget,) = grid.budgets
        assert budget.model_dump() == {"initial": 0.05, "budget": 0.05, "rounds": 6, "first": "strategy"}
    (voc,) = locate_protocol("paper-voc").datasets
    assert voc.unseen == (("pottedplant", "sheep", "sofa", "train", "tvmonitor"),)


@pytest.mark.parametrize(("name", "make"), [("paper-tnbc", make_bcss), ("paper-voc", make_voc)])
def test_the_unseen_classes_of_the_paper_exist_in_the_releases(name: str, make: Callable[[Path], Path], tmp_path: Path):
    (source,) = locate_protocol(name).datasets
    dataset = locate_dataset(source.locator.split(":")[0] + f":{make(tmp_path)}")
    for unseen in source.unseen:
        assert (~dataset.taxonomy.with_unseen(unseen).seen).sum() == len(unseen)


@pytest.mark.data
@pytest.mark.parametrize("name", ["luad", "ebhi", "glas", "phantom", "ablations", *map(str, OF_RESULTS)])
def test_the_classes_of_our_protocols_exist(name: str, shared_data: Path):
    for source in locate_protocol(name).datasets:
        dataset = locate_dataset(source.locator.replace("{data}", str(shared_data)))
        for unseen in source.unseen:
            assert (~dataset.taxonomy.with_unseen(unseen).seen).sum() == len(unseen) > 0
        assert len(dataset.tiles("train", 224)) >= 100


def test_runs_are_every_combination_once():
    runs = plan_runs(parse_protocol(SMALL, "small.toml"), Path("data"))
    # a: 2 sets x (2 strategies x 2 seeds + 1 x 2 presets x 2 seeds, of which prozs with seed 0 is there already).
    assert sum(r.dataset == "a" for r in runs) == 2 * (4 + 3)
    assert sum(r.dataset == "b" for r in runs) == 4
    assert len({r.folder for r in runs}) == len(runs)
    assert {r.settings.dataset for r in runs if r.dataset == "b"} == {"folder:data/b"}
    assert runs[0].text == "a, blood + necrosis unseen, random, paper, descriptions, seed 0"


def test_more_rounds_and_moved_data_keep_the_folder():
    first = plan_runs(parse_protocol(SMALL, "s"), Path("data"))
    more = SMALL.replace("seeds = 2", "seeds = 2\nbudgets = [{ rounds = 9 }]")
    second = plan_runs(parse_protocol(more, "s"), Path("elsewhere"))
    assert [r.folder for r in first] == [r.folder for r in second]
    other = SMALL.replace("seeds = 2", "seeds = 2\noptions = { tile_size = 128 }")
    assert not {r.folder for r in first} & {r.folder for r in plan_runs(parse_protocol(other, "s"), Path("data"))}


def test_data_are_asked_for_where_they_are_needed():
    with pytest.raises(SettingsError, match=r"dataset b lies below a folder that is not known. Name the folder"):
        plan_runs(parse_protocol(SMALL, "small.toml"), None)


def test_a_protocol_can_be_narrowed():
    protocol = narrowed(parse_protocol(SMALL, "s"), seeds=1, strategies=["aczerots"])
    assert {(r.settings.strategy, r.settings.seed) for r in plan_runs(protocol, Path("data"))} == {("aczerots", 0)}
    with pytest.raises(SettingsError, match=r"no strategy 'badge'. It has: random, aczerots"):
        narrowed(protocol.model_copy(update={"grid": parse_protocol(SMALL, "s").grid}), strategies=["badge"])
    with pytest.raises(SettingsError, match="0 seeds"):
        narrowed(protocol, seeds=0)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('title = "Small"', "", "small.toml: title: field required"),
        ("seeds = 2", "seeds = -1", r"small.toml: grid\[0\].seeds: tuple should have at least 1 item"),
        ("seeds = [0, 7]", "seeds = [-3]", r"small.toml: grid\[1\].seeds\[0\]: input should be greater"),
        ('"paper"]', '"papre"]', r"small.toml: grid\[1\]: unknown preset 'papre'"),
        ('["coverage"]', '["contrast"]', r"grid\[0\]: strategy 'aczerots' has no term 'contrast'"),
        ('datasets = ["a"]', 'datasets = ["c"]', r"grid\[1\].datasets: no dataset 'c'. There are: a, b"),
        ('name = "b"', 'name = "a"', "datasets: two are called 'a'"),
        ("[common]", "[common]\nbudgte = 3", r"grid\[0\].budgte: extra inputs are not permitted"),
        ("seeds = 2", "seeds = 2\nbudgets = [{ initial = 2 }]", r"grid\[0\].budgets\[0\].initial: input should be"),
        ("seeds = 2", "seeds = ", "small.toml: not TOML: .*line 12"),
    ],
)
def test_wrong_files_are_explained_by_key(old: str, new: str, words: str):
    assert old in SMALL
    with pytest.raises(InputError, match=words):
        parse_protocol(SMALL.replace(old, new), "small.toml")


def test_options_of_a_run_are_checked_too():
    protocol = parse_protocol(SMALL.replace("seeds = 2", "seeds = 2\noptions = { tile_sise = 128 }"), "s")
    with pytest.raises(SettingsError, match="--tile-sise"):
        plan_runs(protocol, Path("data"))


def test_what_is_neither_a_name_nor_a_file_is_explained(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"'luda' is no protocol. Give a .toml file or one of: ablations"):
        locate_protocol("luda")
    with pytest.raises(InputError, match="cannot read it"):
        locate_protocol(str(tmp_path / "none.toml"))
    path = tmp_path / "own.toml"
    path.write_text(SMALL)
    assert locate_protocol(str(path)).title == "Small"


@pytest.mark.parametrize("key", ["common", "grid"])
def test_tables_must_be_tables(key: str):
    with pytest.raises(InputError, match=f"own.toml: {key}: must be"):
        parse_protocol(f'name = "x"\n{key} = 3\n', "own.toml")
