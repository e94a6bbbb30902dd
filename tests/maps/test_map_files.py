"""Files of a predicted slide: pyramids, polygons, areas, probabilities; interrupts; further classes."""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import openslide
import pytest
import rasterio.features
import tifffile
import torch
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from shapely.geometry import shape
from tests.maps.conftest import map_slide
from tests.slides.pyramids import write_scn

from aczerots.engine.progress import Silent
from aczerots.errors import InputError, SettingsError
from aczerots.predict.chunks import ChunkFolder, decode, halved
from aczerots.predict.polygons import polygon_features
from aczerots.predict.pyramid import LabelPyramid
from aczerots.predict.segmenter import Segmenter
from aczerots.predict.slide_map import MapOptions
from aczerots.predict.slides import predict_slides, read_class
from aczerots.slides.base import Box
from aczerots.slides.image import ArraySlide
from aczerots.slides.open import open_slide
from aczerots.slides.tissue import find_tissue
from aczerots.slides.windows import Chunk, plan_windows
from aczerots.taxonomy import IGNORE

SMALL = MapOptions(probabilities=True, chunk=512)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="session")
def mapped(segmenter: Segmenter, svs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with all files of the section."""
    out = tmp_path_factory.mktemp("mapped")
    map_slide(segmenter, open_slide(svs), out, SMALL, Silent())
    return out


def labels_in(folder: Path) -> np.ndarray:
    return tifffile.imread(folder / "section.labels.ome.tif")


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)))
def test_halving_takes_what_most_pixels_have(labels: np.ndarray) -> None:
    got = halved(labels)
    h, w = labels.shape
    assert got.shape == (-(-h // 2), -(-w // 2))
    for (y, x), value in np.ndenumerate(got):
        four = [labels[min(2 * y + i, h - 1), min(2 * x + j, w - 1)] for i in (0, 1) for j in (0, 1)]
        most = max(four.count(v) for v in four)
        assert value == next(v for v in four if four.count(v) == most)


@pytest.mark.parametrize("side", [512, 1024, 2048])
def test_a_pyramid_does_not_depend_on_the_chunks(side: int, tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (1333, 1801), dtype=np.uint8).repeat(2, 0)[:1801]
    labels[:, 900:] = 7
    folder = ChunkFolder(tmp_path, "key", side)
    done = []
    for row, y in enumerate(range(0, 1801, side)):
        for column, x in enumerate(range(0, 1801, side)):
            part = labels[y : y + side, x : x + side]
            done.append(folder.put(Chunk(row, column, Box(x, y, part.shape[1], part.shape[0])), part, 8))
    pyramid = LabelPyramid((1801, 1801), done)
    expected = labels
    for level in range(len(pyramid.sizes)):
        assert np.array_equal(pyramid.labels(level), expected)
        expected = halved(expected)
    assert max(pyramid.sizes[-1]) <= 512
    assert sum(np.array(d.counts) for d in done).tolist() == np.bincount(labels.ravel(), minlength=8).tolist()
    found = folder.find(Chunk(0, 0, Box(0, 0, 1, 1)))
    assert found is not None
    assert np.array_equal(decode(found.tile((0, 0, 0))), labels[:512, :512])
    assert ChunkFolder(tmp_path, "other key", side).find(Chunk(0, 0, Box(0, 0, 1, 1))) is None
    path = tmp_path / "0000-0000.chunk"
    path.write_bytes(path.read_bytes()[:-3])
    assert folder.find(Chunk(0, 0, Box(0, 0, 1, 1))) is None, "a damaged chunk is computed again"


@pytest.mark.slow
def test_both_pyramids_open_and_agree(mapped: Path, segmenter: Segmenter, svs: Path) -> None:
    with tifffile.TiffFile(mapped / "section.labels.ome.tif") as file:
        assert file.is_ome
        assert 'PhysicalSizeX="0.5"' in str(file.ome_metadata)
        assert [level.shape for level in file.series[0].levels] == [(1100, 1200), (550, 600), (275, 300)]
        labels = file.series[0].asarray()
    with openslide.OpenSlide(mapped / "section.labels.tif") as plain:
        assert plain.level_dimensions == ((1200, 1100), (600, 550), (300, 275))
        assert float(plain.properties["openslide.mpp-x"]) == pytest.approx(0.5)
        shown = np.asarray(plain.read_region((0, 0), 0, (1200, 1100)))[..., :3]
    palette = segmenter.card.taxonomy.palette
    inside = labels != IGNORE
    assert np.array_equal(shown[inside], palette[labels][inside])
    assert np.array_equal(tifffile.imread(mapped / "section.labels.tif"), labels)
    tissue = find_tissue(open_slide(svs)).read(Box(0, 0, 1200, 1100), (1200, 1100))
    assert np.array_equal(inside, tissue), "tissue is labelled, glass is not"


@pytest.mark.slow
def test_areas_are_counts_times_pixel_area(mapped: Path, segmenter: Segmenter, svs: Path) -> None:
    again = map_slide(segmenter, open_slide(svs), mapped, SMALL, Silent())
    labels = labels_in(mapped)
    for i, (share, area) in enumerate(zip(again.fractions, again.areas, strict=True)):
        count = int((labels == i).sum())
        assert area == pytest.approx(count * 0.25e-6)
        assert share == pytest.approx(count / (labels != IGNORE).sum())


@pytest.mark.slow
def test_polygons_are_the_labels_in_level_0_pixels(mapped: Path, segmenter: Segmenter) -> None:
    labels = labels_in(mapped)
    features = json.loads((mapped / "section.geojson").read_text())["features"]
    shapes = [shape(f["geometry"]) for f in features]
    assert all(s.is_valid and s.area > 0 for s in shapes)
    names = segmenter.card.taxonomy.names
    ids = [names.index(f["properties"]["classification"]["name"]) for f in features]
    drawn = rasterio.features.rasterize(zip(shapes, ids, strict=True), labels.shape, fill=IGNORE)
    assert (drawn == labels).mean() > 0.97
    assert sum(s.area for s in shapes) == pytest.approx((labels != IGNORE).sum(), rel=0.01)


def test_polygons_by_hand(segmenter: Segmenter) -> None:
    labels = np.full((20, 30), IGNORE, dtype=np.uint8)
    labels[4:16, 5:25] = 2
    labels[6:12, 8:18] = 1
    labels[14, 22] = 0  # a speck
    found = polygon_features(labels, segmenter.card.taxonomy, (4.0, 4.0), mpp=0.5)
    areas = sorted(shape(f["geometry"]).area for f in found)
    assert areas == [60 * 16, (240 - 60) * 16]
    assert max(f["properties"]["measurements"]["Area mm^2"] for f in found) == pytest.approx(180 * 16 * 0.25e-6)
    assert shape(found[0]["geometry"]).bounds == (20, 16, 100, 64)
    assert polygon_features(np.full((9, 9), IGNORE, dtype=np.uint8), segmenter.card.taxonomy, (1, 1)) == []


@pytest.mark.slow
def test_probabilities_agree_with_the_labels(mapped: Path, segmenter: Segmenter) -> None:
    array = zarr.open_array(mapped / "section.probabilities.zarr", mode="r")
    assert array.attrs["classes"] == list(segmenter.card.taxonomy.names)
    assert array.attrs["level0_per_pixel"] == 16
    p = array[:].astype(float) / 255
    labels = labels_in(mapped)[:1088, :1200].reshape(68, 16, 75, 16)
    pure = (labels == labels[:, :1, :, :1]).all(axis=(1, 3)) & (labels[:, 0, :, 0] != IGNORE)
    assert pure.sum() > 500
    assert np.abs(p[:, :68].sum(axis=0)[pure] - 1).max() < 0.03
    assert (p[:, :68].argmax(axis=0) == labels[:, 0, :, 0])[pure].mean() > 0.99


class Stops(Silent):
    """Interrupts after a number of chunks."""

    def __init__(self, after: int) -> None:
        self.after = after

    def step(self, stage: str, done: int, total: int) -> None:
        if done == self.after:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("after", [4])
def test_interrupted_work_goes_on_and_ends_with_the_same_bytes(
    after: int, mapped: Path, segmenter: Segmenter, svs: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        map_slide(segmenter, open_slide(svs), tmp_path, SMALL, Stops(after))
    kept = sorted(tmp_path.glob(".section.chunks/*.chunk"))
    assert len(kept) == after
    times = [p.stat().st_mtime_ns for p in kept]
    with pytest.raises(KeyboardInterrupt):
        map_slide(segmenter, open_slide(svs), tmp_path, SMALL, Stops(after + 1))
    assert [p.stat().st_mtime_ns for p in kept] == times, "finished chunks are not computed again"
    map_slide(segmenter, open_slide(svs), tmp_path, SMALL, Silent())
    assert digests(tmp_path) == digests(mapped)


@pytest.mark.slow
def test_finished_slides_are_skipped_and_changed_ones_are_not(
    mapped: Path, segmenter: Segmenter, svs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("aczerots.predict.slide_map.box_scores", never)
    map_slide(segmenter, open_slide(svs), mapped, SMALL, Silent())
    with pytest.raises(AssertionError, match="computed again"):
        map_slide(segmenter, open_slide(svs), mapped, MapOptions(probabilities=True, chunk=1024), Silent())


@pytest.mark.slow
def test_the_model_reads_at_its_own_resolution(segmenter: Segmenter, pixels: np.ndarray) -> None:
    """The same tissue scanned twice as fine gives the same map."""
    same = []
    for top, left in ((300, 400), (400, 300)):
        part = pixels[top : top + 400, left : left + 400]
        fine = np.asarray(Image.fromarray(part).resize((800, 800), Image.Resampling.BICUBIC))
        coarse = segmenter.segment(ArraySlide("a", part, 0.5)).labels
        found = segmenter.segment(ArraySlide("a", fine, 0.25)).labels
        assert found.shape == (800, 800)
        same.append((found[::2, ::2] == coarse).mean())
    assert np.mean(same) > 0.93


def test_a_further_class_follows_the_displacement_and_leaves_the_others_alone(segmenter: Segmenter) -> None:
    model = segmenter.model
    bank = model.scorer.bank
    centre = torch.nn.functional.normalize(torch.arange(bank.centres.shape[2]).float() - 20, dim=0)
    saved = {k: v.clone() for k, v in model.state_dict().items()}
    try:
        bank.centres[1, 0], bank.used[1, 0], bank.counts[1] = centre, True, 500.0
        extra = read_class("cartilage: blue-grey glassy matrix with cells in small holes", segmenter.card.taxonomy)
        grown = segmenter.with_classes([extra])
        phi = torch.nn.functional.normalize(torch.randn(1, len(centre), 5, 5, generator=torch.manual_seed(0)), dim=1)
        assert torch.equal(grown.model.scores(phi)[:, :-1], model.scores(phi))
        sentence = segmenter.backbone.encode_text(["blue-grey glassy matrix with cells in small holes"])[0]
        # One drawn class of trust one half: delta = (mu - v) / 2.
        vector = torch.nn.functional.normalize(sentence + (centre - model.text[1]) / 2, dim=0)
        expected = model.scorer.kappa * torch.einsum("d,bdhw->bhw", vector, phi)
        assert torch.allclose(grown.model.scores(phi)[:, -1], expected, atol=1e-4)
        assert grown.card.taxonomy.names[-1] == "cartilage"
        assert not grown.card.taxonomy.classes[-1].seen
    finally:
        model.load_state_dict(saved)


def test_further_classes_that_make_no_sense(segmenter: Segmenter) -> None:
    with pytest.raises(SettingsError, match="--add-class"):
        read_class(": only words", segmenter.card.taxonomy)
    with pytest.raises(SettingsError, match="already knows"):
        read_class("necrosis", segmenter.card.taxonomy)
    known = read_class("cartilage", segmenter.card.taxonomy)
    assert known.color not in {c.color for c in segmenter.card.taxonomy.classes}


def test_plain_images_need_a_resolution_if_the_model_has_one(
    model_file: Path, pixels: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(pixels[300:500, 400:700]).save(path)
    rows, failures = predict_slides(model_file, [path], tmp_path / "out")
    assert rows == []
    assert isinstance(failures[0], InputError)
    assert "--mpp" in str(failures[0])
    assert "a.png" in str(failures[0])
    rows, failures = predict_slides(model_file, [path], tmp_path / "out", mpp=0.25, add_classes=["cartilage"])
    assert failures == []
    assert "cartilage" in rows[0]
    with Image.open(tmp_path / "out" / "a.mask.png") as mask:
        assert mask.size == (300, 200)
    with (tmp_path / "out" / "areas.csv").open() as file:
        table = list(csv.DictReader(file))
    assert sum(float(r["mm2"]) for r in table) == pytest.approx(300 * 200 * 0.0625e-6, rel=0.01)


def test_maps_of_a_partly_scanned_slide_are_in_the_frame_of_qupath(
    model_file: Path, pixels: np.ndarray, tmp_path: Path
) -> None:
    scn = write_scn(tmp_path / "a.scn", pixels[200:584, 200:712], (300, 500), (1200, 1000))
    _, failures = predict_slides(model_file, [scn], tmp_path / "out", options=MapOptions(True, everywhere=True))
    assert failures == []
    frame = {"part": "openslide bounds", "offset": [300, 500], "size": [512, 384], "unit": "level-0 pixels"}
    polygons = json.loads((tmp_path / "out" / "a.geojson").read_text())
    assert polygons["frame"] == json.loads((tmp_path / "out" / "a.json").read_text())["frame"] == frame
    bounds = np.array([shape(f["geometry"]).bounds for f in polygons["features"]])
    assert (*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0)) == (0, 0, 512, 384)
    assert zarr.open_array(tmp_path / "out" / "a.probabilities.zarr", mode="r").attrs["frame"] == frame
    for name in ("a.labels.ome.tif", "a.labels.tif"):
        with tifffile.TiffFile(tmp_path / "out" / name) as tiff:
            assert tiff.series[0].shape == (384, 512)
            assert "openslide bounds, offset 300, 500" in str(tiff.pages[0].description)
    with openslide.OpenSlide(tmp_path / "out" / "a.labels.tif") as plain:
        assert plain.level_dimensions[0] == (512, 384)


def test_plan_of_a_slide_without_resolution_is_refused(segmenter: Segmenter) -> None:
    slide = ArraySlide("a", np.zeros((50, 50, 3), dtype=np.uint8))
    with pytest.raises(InputError, match="no resolution"):
        segmenter.segment(slide)
    assert plan_windows(slide, 224, 14, None, chunk=512).mpp is None
