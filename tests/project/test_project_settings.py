"""project.yaml, classes from the command line, and the making of a project."""

from pathlib import Path

import fsspec
import numpy as np
import pytest
import yaml
from tests.project.conftest import CLASSES, write_image

from aczerots.engine.progress import Silent
from aczerots.errors import AczerotsError, InputError, SettingsError, StorageError
from aczerots.project.classes import COLORS, read_classes
from aczerots.project.folder import AddedSlides, Project, add_slides, init_project, open_project
from aczerots.project.settings import make_settings, read_settings, write_settings
from aczerots.project.slides import find_files, slide_name


def test_classes_in_one_line():
    found = read_classes("tumor:seen, stroma ,mast cells: type 2:unseen")
    assert [(c.name, c.seen) for c in found] == [("tumor", True), ("stroma", True), ("mast cells: type 2", False)]
    assert [c.color for c in found] == list(COLORS[:3])


def test_classes_of_a_file_with_colours_and_sentences(tmp_path: Path):
    entries = [{"name": "a", "color": [1, 2, 3]}, {"name": "b", "seen": False, "descriptions": ["pink"]}]
    for content in ({"classes": entries, "name": "other"}, entries):
        path = tmp_path / "classes.yaml"
        path.write_text(yaml.safe_dump(content))
        first, second = read_classes(str(path))
        assert (first.color, first.seen) == ((1, 2, 3), True)
        assert (second.color, second.seen, second.descriptions) == (COLORS[1], False, ("pink",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tumor:sean", "'tumor:sean' names no class"),
        (":seen", "names no class"),
        (" , ", "names no class"),
        ("missing.yaml", "cannot be read"),
        ("tumor,tumor", "listed twice"),
        ("tumor:unseen", "all classes are unseen"),
    ],
)
def test_classes_that_make_no_sense(text: str, message: str):
    with pytest.raises(AczerotsError, match=message):
        make_settings(classes=read_classes(text))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- color: [1, 2, 3]", "class 1, 'name': field required"),
        ("[a, b: {", "not YAML"),
        ("name: x", "no list of classes"),
        ("- name: a\n  colour: [1, 2, 3]", "'colour'"),
        ("- 7", "class 1"),
    ],
)
def test_files_of_classes_that_make_no_sense(tmp_path: Path, content: str, message: str):
    path = tmp_path / "classes.yml"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_classes(str(path))


def test_settings_come_back_as_they_were(tmp_path: Path):
    settings = make_settings(classes=CLASSES, mpp=0.5, budget=7, double=0.25, database="postgresql+psycopg://u@h/n")
    write_settings(tmp_path, settings)
    assert read_settings(tmp_path) == settings


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("classes: [{name: a}]\nbudgett: 3", "'budgett': there is no such setting"),
        ("classes: [{name: a}]\nbudget: 0", "'budget': .* got 0"),
        ("classes: [{name: a}]\nversion: 2", "'version'"),
        ("classes: [{name: a, seen: false}]", "all classes are unseen"),
        ("classes: [{name: a}, {name: a}]", "listed twice"),
        ("a: [", "not YAML"),
        ("7", "'content'"),
    ],
)
def test_a_wrong_project_file_says_what_is_wrong(tmp_path: Path, content: str, message: str):
    (tmp_path / "project.yaml").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_settings(tmp_path)
    assert "project.yaml" in str(caught.value)


def test_a_folder_that_is_no_project(tmp_path: Path):
    with pytest.raises(InputError, match=r"is no project: project\.yaml is missing"), open_project(tmp_path):
        pass


def test_options_out_of_range_are_named():
    with pytest.raises(SettingsError, match="--tile-size"):
        make_settings(classes=CLASSES, tile_size=3)


def test_a_project_knows_its_slides_and_tiles(project: Project):
    assert [(f.id, f.width, f.height) for f in project.store.rounds.slides()] == [("a", 128, 96), ("b", 64, 64)]
    assert [t.id for t in project.store.rounds.tiles()] == [
        "a@0,0,64,48",
        "a@64,0,64,48",
        "a@0,48,64,48",
        "a@64,48,64,48",
        "b@0,0,64,64",
    ]
    assert list(project.slides) == ["a", "b"]


def test_more_slides_go_to_the_end_and_known_ones_are_passed_over(project: Project, images: Path):
    write_image(images / "0.png", 64, 64, 5)
    assert add_slides(project, find_files([str(images / "*")])).new == ["0"]
    assert project.store.rounds.tiles()[5].slide == "0"
    assert add_slides(project, find_files([str(images / "*")])) == AddedSlides([], [], [])


def test_slides_inside_the_project_move_with_it(project: Project, tmp_path: Path):
    path = write_image(project.folder / "scans" / "c.png", 64, 64, 7)
    add_slides(project, [path.resolve()])
    assert project.store.rounds.slides()[-1].path == "scans/c.png"
    project.store.close()
    moved = project.folder.rename(tmp_path / "elsewhere")
    with open_project(moved) as again:
        assert again.slides["c"].size == (64, 64)


def test_of_a_slide_that_is_read_in_parts_only_tissue_is_asked_for(tmp_path: Path):
    import tifffile

    pixels = np.full((512, 768, 3), 245, np.uint8)
    rng = np.random.default_rng(0)
    pixels[128:256, 256:512] = np.array([190, 90, 160]) + rng.integers(-30, 30, (128, 256, 3))
    metadata = {"axes": "YXS", "PhysicalSizeX": 4.0, "PhysicalSizeY": 4.0}
    tifffile.imwrite(tmp_path / "wsi.ome.tif", pixels, ome=True, tile=(256, 256), photometric="rgb", metadata=metadata)
    init_project(tmp_path / "p", [str(tmp_path / "wsi.ome.tif")], make_settings(classes=CLASSES, tile_size=128))
    with open_project(tmp_path / "p") as made:
        (fact,) = made.store.rounds.slides()
        boxes = {(t.box.x, t.box.y) for t in made.store.rounds.tiles()}
        assert made.slides["wsi"].size == (768, 512)
    assert (fact.id, fact.mpp) == ("wsi", 4.0)
    assert {(256, 128), (384, 128)} <= boxes
    assert len(boxes) < 24


def test_a_slide_that_changed_is_noticed(project: Project, images: Path):
    write_image(images / "b.png", 64, 64, 99)
    with pytest.raises(InputError, match="not the one that was imported"):
        _ = project.slides["b"]
    with pytest.raises(InputError, match="not the one that was imported"):
        project.slides.open_all()
    with pytest.raises(InputError, match="other pixels than before"):
        add_slides(project, find_files([str(images / "b.png")]))


def test_nothing_is_left_of_a_project_that_could_not_be_made(tmp_path: Path, images: Path):
    (images / "broken.png").write_bytes(b"no image")
    folder = tmp_path / "new"
    with pytest.raises(InputError, match=r"broken\.png"):
        init_project(folder, [str(images / "broken.png")], make_settings(classes=CLASSES))
    assert not folder.exists()
    (images / "broken.png").unlink()
    init_project(folder, [str(images / "*.png")], make_settings(classes=CLASSES))


def test_a_project_is_never_overwritten(project: Project, images: Path):
    with pytest.raises(SettingsError, match="is a project already"):
        init_project(project.folder, [str(images / "*.png")], make_settings(classes=CLASSES))
    (project.folder / "project.yaml").unlink()
    with pytest.raises(SettingsError, match="holds a project already"):
        init_project(project.folder, [str(images / "*.png")], make_settings(classes=CLASSES))
    assert len(project.store.rounds.tiles()) == 5


class Kept(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_tiles_at_a_resolution_need_slides_that_state_one(tmp_path: Path, images: Path):
    with pytest.raises(SettingsError, match="2 slides state no resolution: a, b"):
        init_project(tmp_path / "p", [str(images / "*.png")], make_settings(classes=CLASSES, mpp=1.0, tile_size=32))
    settings = make_settings(classes=CLASSES, mpp=1.0, slide_mpp=0.5, tile_size=32)
    init_project(tmp_path / "p", [str(images / "*.png")], settings)
    with open_project(tmp_path / "p") as made:
        assert made.store.rounds.tiles()[0].window.width == 64


def test_the_resolution_of_the_project_holds_against_files_and_is_told(tmp_path: Path, images: Path):
    from PIL import Image

    for path in list(images.glob("*.png")):
        Image.open(path).save(path.with_suffix(".tif"), dpi=(25400 / 0.25, 25400 / 0.25))
    progress = Kept()
    settings = make_settings(classes=CLASSES, mpp=1.0, slide_mpp=0.5, tile_size=32)
    init_project(tmp_path / "p", [str(images / "*.tif")], settings, progress)
    assert "0.5 micrometres per pixel are used, as given; the file states 0.25" in progress.lines[0]
    with open_project(tmp_path / "p") as made:
        assert {r.mpp for r in made.store.rounds.slides()} == {0.5}
        assert {s.mpp for s in made.slides.values()} == {0.5}


def test_a_password_does_not_get_into_the_project_file(tmp_path: Path, images: Path):
    settings = make_settings(classes=CLASSES, database="postgresql+psycopg://ann:secret@h/n")
    with pytest.raises(SettingsError, match="password") as caught:
        init_project(tmp_path / "p", [str(images / "*.png")], settings)
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "p").exists()


def test_patterns_and_names(images: Path, tmp_path: Path):
    assert [p.name for p in find_files([str(images / "*.png"), str(images / "a*")])] == ["a.png", "b.png"]
    with pytest.raises(InputError, match="no file has such a name"):
        find_files([str(tmp_path / "nothing*")])
    assert slide_name(Path("x/case 7.ome.tif")) == "case 7"
    for wrong in ("x/a:b.png", "x/.png", "x/a\n.png", "x/a@b.png", "x/" + "a" * 200 + ".png", "x/a\\b.png"):
        with pytest.raises(InputError, match="cannot name a slide"):
            slide_name(Path(wrong))
    write_image(images / "more" / "a.png", 64, 64, 3)
    with pytest.raises(InputError, match="has the same name as"):
        init_project(tmp_path / "p", [str(images / "**" / "*.png")], make_settings(classes=CLASSES))


def test_slides_behind_urls_are_copied_once(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    for place, name in (("/lab/a.png", "a.png"), ("/lab/b.png", "b.png"), ("/lab/notes.txt", "a.png")):
        memory.pipe(place, (images / name).read_bytes())
    steps: list[tuple[int, int]] = []
    progress = Silent()
    monkeypatch.setattr(progress, "step", lambda _, done, total: steps.append((done, total)), raising=False)
    folder, settings = tmp_path / "p", make_settings(classes=CLASSES, tile_size=64, budget=2)
    init_project(folder, ["memory://lab/*.png"], settings, progress)
    assert steps == [(1, 2), (2, 2)] * 2, "copied, then opened"
    assert sorted(p.name for p in (folder / "slides").iterdir()) == ["a.png", "b.png"]
    with open_project(folder) as project:
        assert [f.path for f in project.store.rounds.slides()] == ["slides/a.png", "slides/b.png"]
        assert project.slides["a"].size == (128, 96)
    # What is there is not asked for again: the server may be gone by now, but for its listing.
    memory.pipe("/lab/a.png", b"other")
    found = find_files(["memory://lab/a.png"], folder / "slides")
    assert found == [(folder / "slides" / "a.png").resolve()]
    assert found[0].read_bytes() == (images / "a.png").read_bytes()


def test_urls_that_cannot_be_slides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pipe("/one/a.png", b"x")
    memory.pipe("/two/a.png", b"y")
    copies = tmp_path / "slides"
    with pytest.raises(InputError, match="no file has such a name"):
        find_files(["memory://one/*.svs"], copies)
    with pytest.raises(InputError, match="only slides may be behind URLs"):
        find_files(["memory://one/a.png"])
    with pytest.raises(InputError, match=r"has the same name as memory:///?two/a.png"):
        find_files(["memory://*/a.png"], copies)
    with pytest.raises(AczerotsError, match=r"cannot be used|needs the extra"):
        find_files(["nothing://one/a.png"], copies)
    assert not copies.exists()
    monkeypatch.setattr("aczerots.storage.remote.free_space", lambda _: 0)
    with pytest.raises(StorageError, match="takes 1 B, and 0 B are free"):
        find_files(["memory://one/a.png"], copies)
    assert list(copies.iterdir()) == []
