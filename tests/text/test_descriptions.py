"""The bundle of descriptions and how a taxonomy gets its words."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from aczerots.errors import InputError
from aczerots.taxonomy import Taxonomy, TissueClass
from aczerots.text.descriptions import (
    bundled_descriptions,
    bundled_source,
    describe_taxonomy,
    known_classes,
    read_descriptions,
    undescribed,
    with_user_descriptions,
)

LUAD = ("tumor epithelium", "tumor-associated stroma", "normal lung tissue", "white background")
EBHI = (
    "colonic stroma",
    "normal colonic gland",
    "hyperplastic polyp",
    "low-grade intraepithelial neoplasia",
    "high-grade intraepithelial neoplasia",
    "serrated adenoma",
    "colorectal adenocarcinoma",
)
GLAS = ("stroma and other non-glandular tissue", "benign colonic gland", "malignant colonic gland")
BCSS = ("tumor", "stroma", "lymphocytic infiltrate", "necrosis or debris", "fat", "plasma cells")
HER2 = (
    "invasive cancer",
    "cancer in situ",
    "connective tissue",
    "adipose tissue",
    "immune infiltrate",
    "breast glands",
    "lymphocytes",
    "background",
)
PHANTOM = (
    "tumor nests",
    "fibrous stroma",
    "lymphocyte aggregates",
    "necrosis",
    "adipose tissue",
    "normal glands",
    "smooth muscle",
    "blood",
    "background",
)
VOC = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable"),
    *("dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
ORGANS = (
    *("breast", "lung", "colon", "prostate", "skin", "liver", "kidney", "brain", "lymph node", "pancreas"),
    *("oral mucosa", "bone"),
)
DATASETS = {
    "luad": LUAD,
    "ebhi": EBHI,
    "glas": GLAS,
    "bcss": BCSS,
    "her2": HER2,
    "phantom": PHANTOM,
    "voc": VOC,
}


def bundle_files() -> dict[str, str]:
    folder = files("aczerots.text") / "data"
    return {f.name: f.read_text(encoding="utf-8") for f in folder.iterdir() if f.name.endswith(".yaml")}


def entries() -> list[tuple[str, dict[str, object]]]:
    """(file, class) of the whole bundle, read without the code under test."""
    return [(n, entry) for n, text in bundle_files().items() for entry in yaml.safe_load(text)["classes"]]


def flat(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_class_of_the_datasets_is_described_and_told_apart(dataset: str) -> None:
    sentences = [bundled_descriptions(name) for name in DATASETS[dataset]]
    assert all(s is not None and len(s) >= (5 if dataset == "voc" else 6) for s in sentences)
    assert len(set(sentences)) == len(DATASETS[dataset])


def test_no_two_classes_share_a_name_or_alias() -> None:
    owners: dict[str, str] = {}
    for file, entry in entries():
        for name in (entry["name"], *entry.get("aliases", ())):
            assert flat(name) not in owners, f"{file}: {name} is also {owners[flat(name)]}"
            owners[flat(name)] = f"{file}: {entry['name']}"


def test_names_and_aliases_all_lead_to_their_class() -> None:
    for _, entry in entries():
        for name in (entry["name"], *entry.get("aliases", ())):
            assert bundled_descriptions(name) == tuple(entry["descriptions"])
    assert sorted(known_classes()) == sorted(str(e["name"]) for _, e in entries())


def test_sentences_are_whole_distinct_and_readable_alone() -> None:
    seen: dict[str, str] = {}
    for file, entry in entries():
        at_least = 5 if file == "voc.yaml" else 6
        assert len(entry["descriptions"]) >= at_least, entry["name"]
        for sentence in entry["descriptions"]:
            assert sentence[0].isupper(), sentence
            assert sentence.endswith("."), sentence
            assert 6 <= len(sentence.split()) <= 30, sentence
            assert sentence.isascii(), sentence
            # A sentence that leans on another one means nothing to a text tower that reads it alone.
            assert sentence.split()[0] not in {"It", "They", "This", "These", "Its", "Their"}, sentence
            assert sentence not in seen, f"{entry['name']} and {seen.get(sentence)}: {sentence}"
            seen[sentence] = str(entry["name"])


def test_files_name_their_sources_and_classes_where_to_read() -> None:
    for name, text in bundle_files().items():
        assert "Own wording" in text.splitlines()[0], name
        content = yaml.safe_load(text)
        assert content["sources"], name
        if name != "voc.yaml":
            assert any("PathologyOutlines" in s for s in content["sources"]), name
            assert any("WHO" in s or "Histology" in s for s in content["sources"]), name
            for entry in content["classes"]:
                assert len(entry["topic"].split(", ")) >= 2, entry["name"]
                assert bundled_source(entry["name"]) == entry["topic"]


def test_every_tissue_class_is_described_at_low_and_at_high_power() -> None:
    for file, entry in entries():
        if file != "voc.yaml":
            text = " ".join(entry["descriptions"]).lower()
            assert "low power" in text, entry["name"]
            assert "high power" in text, entry["name"]


def test_the_bundle_is_broad() -> None:
    voc = {e["name"] for f, e in entries() if f == "voc.yaml"}
    assert voc == set(VOC)
    organs = Counter(
        {yaml.safe_load(t).get("organ"): len(yaml.safe_load(t)["classes"]) for t in bundle_files().values()}
    )
    assert organs.keys() == {*ORGANS, "any organ", None}
    assert min(organs.values()) >= 5
    assert sum(organs[o] for o in ORGANS) >= 80


def write(folder: Path, text: str) -> Path:
    path = folder / "words.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_users_file_wins_over_dataset_and_bundle(tmp_path: Path) -> None:
    path = write(tmp_path, "classes:\n  - {name: Necrosis, aliases: [dead], descriptions: [Grey mud.]}\n")
    own = TissueClass(name="stroma", descriptions=("Pink.",))
    given = taxonomy(own, TissueClass(name="necrosis"), TissueClass(name="fat"))
    out = describe_taxonomy(with_user_descriptions(given, path), "descriptions")
    words = [c.descriptions for c in out.classes]
    assert words == [("Pink.",), ("Grey mud.",), bundled_descriptions("fat")]
    with pytest.raises(InputError, match=r"none of the classes fat.*It describes: Necrosis"):
        with_user_descriptions(taxonomy(TissueClass(name="fat")), path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [", "not YAML"),
        ("classes: []", "'classes'"),
        ("[]", "'content'"),
        ("classes:\n  - {name: a, descriptions: []}", "'classes.0.descriptions'"),
        ("classes:\n  - {name: a, colour: red, descriptions: [x]}", "'classes.0.colour'"),
        ("classes:\n  - {name: a, descriptions: [x]}\n  - {name: A, descriptions: [y]}", "'a' twice"),
    ],
)
def test_a_users_file_that_is_wrong_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_descriptions(write(tmp_path, text))
    assert "words.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_users_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_descriptions(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", ["Tumor_Epithelium", "tumour epithelium", "TUMOR-EPITHELIUM", " tumor  epithelium "])
def test_spelling_variants_are_one_class(name: str) -> None:
    assert bundled_descriptions(name) == bundled_descriptions("tumor epithelium") is not None


def test_voc_names_may_be_written_apart() -> None:
    assert bundled_descriptions("dining table") == bundled_descriptions("diningtable") is not None


def test_unknown_class_is_none_not_a_guess() -> None:
    assert bundled_descriptions("quasar") is None
    assert bundled_descriptions("") is None
    assert bundled_descriptions("--") is None


def taxonomy(*classes: TissueClass) -> Taxonomy:
    return Taxonomy(classes=classes)


def test_own_sentences_win_then_the_bundle_then_templates() -> None:
    own = TissueClass(name="necrosis", descriptions=("Pink and dead.",), seen=False, color=(1, 2, 3))
    given = taxonomy(own, TissueClass(name="stroma"), TissueClass(name="quasar {0}"))
    out = describe_taxonomy(given, "descriptions")
    assert out.classes[0] == own
    assert out.classes[1].descriptions == bundled_descriptions("stroma")
    assert "an H&E image of quasar {0}." in out.classes[2].descriptions
    assert undescribed(given) == ("quasar {0}",)
    assert out.names == given.names
    assert list(out.seen) == [False, True, True]


def test_names_mode_is_the_bare_name_even_with_own_sentences() -> None:
    given = taxonomy(TissueClass(name="necrosis", descriptions=("Pink and dead.",)), TissueClass(name="cat"))
    out = describe_taxonomy(given, "names")
    assert [c.descriptions for c in out.classes] == [("necrosis",), ("cat",)]


def test_templates_fit_the_kind_of_picture() -> None:
    out = describe_taxonomy(taxonomy(TissueClass(name="Liver"), TissueClass(name="cat")), "templates")
    tissue, cat = (c.descriptions for c in out.classes)
    assert "a photo of a cat." in cat
    assert not any("H&E" in s for s in cat)
    assert "an H&E image of Liver." in tissue
    assert not any("photo" in s for s in tissue)
    assert len(set(tissue)) == len(tissue) >= 3
    assert len(set(cat)) == len(cat) >= 3


@pytest.mark.data
@pytest.mark.parametrize("name", ["luad", "ebhi", "glas"])
def test_real_datasets_need_no_fallback(name: str, shared_data: Path) -> None:
    listed = yaml.safe_load((shared_data / name / "dataset.yaml").read_text())["classes"]
    assert undescribed(taxonomy(*(TissueClass(name=c["name"]) for c in listed))) == ()
