"""Small synthetic copies of the layouts that others ship."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

FOLDER_YAML = """\
name: tiny
mpp: 0.5
classes:
  - {name: tumor, color: [200, 0, 0], descriptions: [crowded dark nuclei]}
  - {name: glass, color: [255, 255, 255], void: true}
  - {name: stroma, color: [0, 200, 0], seen: false}
"""


def write_image(path: Path, size: tuple[int, int] = (40, 30), seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)


def write_mask(path: Path, codes: tuple[int, ...], size: tuple[int, int] = (40, 30), seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.choice(np.array(codes, dtype=np.uint8), (size[1], size[0]))).save(path)


def make_folder(root: Path, names: tuple[str, ...] = ("a", "b", "c", "d", "e"), split: str | None = None) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.yaml").write_text(FOLDER_YAML)
    for i, name in enumerate(names):
        write_image(root / "images" / f"{name}.png", (40 + i, 30), i)
        write_mask(root / "masks" / f"{name}.png", (0, 1, 2, 255), (40 + i, 30), i)
    if split is not None:
        (root / "split.csv").write_text(split)
    return root


def make_wsss4luad(root: Path, test_masks: bool = True) -> Path:
    for part in ("2.validation", "3.testing"):
        for i in range(4):
            write_image(root / part / "img" / f"{i:02d}.png", seed=i)
            write_mask(root / part / "background-mask" / f"{i:02d}.png", (0, 1), seed=i)
            if test_masks or part == "2.validation":
                write_mask(root / part / "mask" / f"{i:02d}.png", (0, 1, 2, 3), seed=i)
    write_image(root / "1.training" / "1031280-2300-27920-[1, 0, 0].png")
    return root


def make_bcss(root: Path, cases: int = 5) -> Path:
    for case in range(cases):
        for region in range(2):
            name = f"TCGA-A1-A0S{case}-DX1_xmin{region * 500}_ymin25055_MPP-0.2500"
            write_image(root / "rgbs_colorNormalized" / f"{name}.png", seed=case * 2 + region)
            write_mask(root / "masks" / f"{name}.png", tuple(range(22)), seed=case * 2 + region)
    return root


def make_voc(root: Path, lists: bool = True) -> Path:
    for i in range(6):
        write_image(root / "JPEGImages" / f"2008_{i:06d}.jpg", seed=i)
        write_mask(root / "SegmentationClassAug" / f"2008_{i:06d}.png", (*range(21), 255), seed=i)
    write_image(root / "JPEGImages" / "2008_999999.jpg")  # a photograph without mask, as most of VOC
    if lists:
        sets = root / "ImageSets" / "Segmentation"
        sets.mkdir(parents=True)
        (sets / "train.txt").write_text("2008_000000\n2008_000001\n2008_000002\n")
        (sets / "val.txt").write_text("2008_000003\n2008_000004\n")
    return root


HER2ST_HEADER = "Row.names\tx\ty\tpixel_x\tpixel_y\tlabel\n"


def make_her2st(root: Path, sections: tuple[str, ...] = ("A1", "B1", "C1")) -> Path:
    """Images of 10 px per spot pitch, so 20 um/px; spots at all grid places of rows and columns 11, 16, 21."""
    labels = ("invasive cancer", "connective tissue", "adipose tissue", "undetermined")
    root.mkdir(parents=True, exist_ok=True)
    for i, section in enumerate(sections):
        write_image(root / f"{section}.png", (320, 340), i)
        rows = [HER2ST_HEADER]
        for k, (x, y) in enumerate((x, y) for x in (11, 16, 21) for y in (11, 16, 21)):
            rows.append(f"s{k}\t{x}\t{y}\t{125 * (x - 1)}\t{126 * (35 - y)}\t{labels[k % len(labels)]}\n")
        (root / f"{section}_labeled_coordinates.tsv").write_text("".join(rows))
    write_image(root / "D1.png")  # an unlabelled section
    return root


def make_contributed(root: Path) -> Path:
    """The layout of CONTRIBUTING.md, written by the example itself, which must be installed."""
    from contributed_two_folders import write_example

    write_example(root)
    return root
