"""Glass gets no class: in predictions, drafts, scores and the pool, of plain images as of whole slides."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from tests.maps.conftest import map_slide

from aczerots.annotation.formats.masks import decode_mask
from aczerots.cli.app import main
from aczerots.datasets.phantom.classes import Tissue
from aczerots.datasets.phantom.slide import SlideRecipe, generate
from aczerots.engine.progress import Silent
from aczerots.errors import InputError, SettingsError
from aczerots.predict.blend import box_scores
from aczerots.predict.segmenter import Segmenter
from aczerots.predict.slide_map import MapOptions
from aczerots.project.folder import Project, init_project, open_project
from aczerots.project.rounds import propose_round
from aczerots.project.settings import make_settings
from aczerots.prozs.checkpoint import save_model
from aczerots.slides.base import Box
from aczerots.slides.labelled import EVERYWHERE, TissueRule, background_class
from aczerots.slides.open import open_slide
from aczerots.taxonomy import IGNORE, Taxonomy, TissueClass

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def truth() -> np.ndarray:
    """Where the section of the fixture ``pixels`` has tissue: bool [1100, 1200]; the phantom has glass of its own."""
    _, labels = generate(SlideRecipe(11, 3, (1000, 1000), 0.5))
    y, x = np.mgrid[:1000, :1000]
    out = np.zeros((1100, 1200), dtype=bool)
    out[50:1050, 150:1150] = ((y - 500) ** 2 + (x - 500) ** 2 < 490**2) & (labels != Tissue.BACKGROUND)
    return out


@pytest.fixture(scope="session")
def far(truth: np.ndarray) -> np.ndarray:
    """Glass at least 100 pixels from all tissue: bool [1100, 1200]."""
    return ndimage.distance_transform_edt(~truth) > 100


@pytest.fixture(scope="session")
def png(pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The section as a plain image."""
    path = tmp_path_factory.mktemp("plain") / "section.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="session")
def tissues(segmenter: Segmenter) -> Segmenter:
    """The model without a class for glass: its name says nothing."""
    classes = tuple(
        c.model_copy(update={"name": "mucin"}) if c.name == "background" else c for c in segmenter.card.taxonomy.classes
    )
    card = segmenter.card.model_copy(update={"taxonomy": Taxonomy(classes=classes)})
    return Segmenter(segmenter.model, card, segmenter.backbone)


@pytest.fixture(scope="session")
def labels(tissues: Segmenter, png: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """What is predicted of the plain image."""
    out = tmp_path_factory.mktemp("map")
    map_slide(tissues, open_slide(png, 0.5), out, MapOptions(), Silent())
    return np.array(Image.open(out / "section.mask.png"))


def test_glass_of_a_plain_image_gets_no_class(labels: np.ndarray, truth: np.ndarray, far: np.ndarray) -> None:
    said = labels != IGNORE
    assert not said[far].any()
    assert said[truth].mean() > 0.999
    assert (said & ~truth)[:, :600].sum() < 0.02 * truth[:, :600].sum()  # the left rim is smooth


def test_what_is_labelled_is_what_is_said_everywhere(tissues: Segmenter, png: Path, labels: np.ndarray) -> None:
    """A simulation labels everything; where ``predict`` has a label it is the same one."""
    whole = tissues.segment(open_slide(png, 0.5)).labels
    said = labels != IGNORE
    np.testing.assert_array_equal(labels[said], whole[said])
    assert (whole != IGNORE).all()


def test_windows_without_tissue_are_not_computed(tissues: Segmenter, pixels: np.ndarray, tmp_path: Path) -> None:
    picture = np.full((2400, 2600, 3), 243, dtype=np.uint8)
    picture[:1100, :1200] = pixels
    Image.fromarray(picture).save(tmp_path / "a.png")
    slide = open_slide(tmp_path / "a.png", 0.5)
    plan = tissues.plan(slide)
    counts = []
    for setting in ("auto", EVERYWHERE):
        asked: list[object] = []

        def none(tiles: object, asked: list[object] = asked) -> Iterator[object]:
            asked.extend(tiles)  # type: ignore[arg-type]
            yield from ()

        rule = TissueRule(tissues.card.taxonomy, setting)
        box_scores(tissues.model, plan, none, Box(0, 0, *plan.size), rule.mask(slide))  # type: ignore[arg-type]
        counts.append(len(asked))
    assert counts[0] < 0.3 * counts[1]


def test_a_model_that_knows_the_background_labels_plain_images_everywhere(
    segmenter: Segmenter, png: Path, svs: Path
) -> None:
    assert background_class(segmenter.card.taxonomy) is not None
    rule = TissueRule(segmenter.card.taxonomy)
    assert rule.mask(open_slide(png, 0.5)).fraction == 1
    assert rule.mask(open_slide(svs)).fraction < 0.8


@pytest.mark.parametrize(
    ("name", "glass"),
    [
        ("background", True),
        ("White background", True),
        ("glass / empty", True),
        ("no tissue", True),
        ("Hintergrund", True),
        ("background liver", False),
        ("white matter", False),
        ("stroma and background", False),
        ("other", False),
    ],
)
def test_which_names_are_the_background(name: str, glass: bool) -> None:
    assert (background_class(Taxonomy(classes=(TissueClass(name="tumor"), TissueClass(name=name)))) == 1) is glass


def test_a_mask_of_the_user_decides(tissues: Segmenter, png: Path, tmp_path: Path) -> None:
    mask = np.zeros((110, 120), dtype=np.uint8)
    mask[:, :30] = 255
    Image.fromarray(mask).save(tmp_path / "section.png")
    done = map_slide(tissues, open_slide(png, 0.5), tmp_path / "out", MapOptions(tissue=str(tmp_path)), Silent())
    said = np.array(Image.open(tmp_path / "out" / "section.mask.png")) != IGNORE
    assert said[:, :300].all()
    assert not said[:, 300:].any()
    assert sum(done.counts) == 1100 * 300
    Image.fromarray(mask[:50]).save(tmp_path / "section.png")
    with pytest.raises(InputError, match="120 x 50"):
        TissueRule(tissues.card.taxonomy, str(tmp_path)).mask(open_slide(png))
    with pytest.raises(SettingsError, match="folder"):
        TissueRule(tissues.card.taxonomy, str(tmp_path / "none"))


@contextmanager
def project_of(folder: Path, png: Path, tissue: str = "auto") -> Iterator[tuple[Project, list[str]]]:
    said: list[str] = []

    class Heard(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    classes = [{"name": "tumor epithelium"}, {"name": "fibrous stroma"}, {"name": "adipose tissue"}]
    settings = make_settings(classes=classes, tile_size=224, budget=3, slide_mpp=0.5, tissue=tissue)
    init_project(folder / "project", [str(png)], settings, Heard())
    with open_project(folder / "project") as opened:
        yield opened, said


def test_pool_and_drafts_leave_glass_out(png: Path, far: np.ndarray, tmp_path: Path) -> None:
    with project_of(tmp_path, png) as (project, said):
        assert "no class is the background" in " ".join(said)
        tiles = project.store.rounds.tiles()
        assert 0 < len(tiles) < 30
        assert not any(far[b.y : b.y + b.height, b.x : b.x + b.width].all() for b in (t.box for t in tiles))
        picked = propose_round(project).picks
        drafts = project.store.rounds.drafts([p.tile for p in picked])
        for position, draft in drafts.items():
            b = tiles[position].box
            mask = decode_mask(draft.mask)[tiles[position].inner]
            assert (mask[far[b.y : b.y + b.height, b.x : b.x + b.width]] == IGNORE).all()
            assert (mask != IGNORE).any()


def test_a_project_can_take_everything(png: Path, tmp_path: Path) -> None:
    with project_of(tmp_path, png, EVERYWHERE) as (project, _):
        assert len(project.store.rounds.tiles()) == 30


def test_areas_are_of_tissue_unless_an_option_says_otherwise(
    png: Path, truth: np.ndarray, tissues: Segmenter, tmp_path: Path
) -> None:
    save_model(tmp_path / "m.safetensors", tissues.model, tissues.card)
    areas = []
    for name, options in (("auto", ()), ("all", ("--everywhere",)), ("also", ("--tissue", "everywhere"))):
        with pytest.raises(SystemExit) as stop:
            main(
                [
                    *map(str, ("predict", tmp_path / "m.safetensors", png, "--out", tmp_path / name, "--mpp", 0.5)),
                    *options,
                ]
            )
        assert not stop.value.code
        with (tmp_path / name / "areas.csv").open(newline="") as file:
            areas.append(sum(float(r["mm2"]) for r in csv.DictReader(file)))
    assert areas[0] == pytest.approx(truth.sum() * 0.25e-6, rel=0.05)
    assert areas[1:] == pytest.approx([1100 * 1200 * 0.25e-6] * 2, rel=0.001)
