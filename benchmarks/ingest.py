"""How long a large export from QuPath takes: polygons on one slide, all in tiles that a round asked for.

    python -m benchmarks.ingest --side 100

Prints the seconds of processor time for reading, drawing and keeping side x side polygons.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aczerots.annotation.store.records import PickRecord, RoundState
from aczerots.project.folder import init_project, open_project
from aczerots.project.ingest import Intake, ingest_files
from aczerots.project.settings import make_settings

STEP = 20
"""Level-0 pixels from one polygon to the next."""
TILE = 200


def star() -> NDArray[np.float64]:
    """A closed outline [25, 2] around (0, 0), (x, y) in level-0 pixels, radius 4 to 8."""
    angles = np.linspace(0, 2 * np.pi, 25)
    outline = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (6 + 2 * np.sin(3 * angles))[:, None]
    outline[-1] = outline[0]
    return outline


def _polygon(x: int, y: int) -> dict[str, Any]:
    corners = (star() + STEP * np.array([x + 0.5, y + 0.5])).tolist()
    drawn = {"objectType": "annotation", "classification": {"name": ("tumor", "stroma")[(x + y) % 2]}}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [corners]}, "properties": drawn}


def make_export(folder: Path, side: int) -> tuple[Path, Path]:
    """(project whose round asks for every tile of its only slide, GeoJSON file of side x side polygons)."""
    image = folder / "case.png"
    Image.fromarray(np.full((side * STEP, side * STEP, 3), 200, np.uint8)).save(image)
    settings = make_settings(tissue="everywhere", classes=[{"name": "tumor"}, {"name": "stroma"}], tile_size=TILE)
    init_project(folder / "project", [str(image)], settings)
    with open_project(folder / "project") as project:
        rounds = project.store.rounds
        rounds.advance(0, RoundState.FITTED)
        tiles = range(len(rounds.tiles()))
        rounds.propose(1, "random", [PickRecord(1, i + 1, i, 0.5, {"coverage": 0.5}) for i in tiles])
    file = folder / "case.geojson"
    features = [_polygon(x, y) for x in range(side) for y in range(side)]
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return folder / "project", file


def main() -> None:
    """Command line of the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=100)
    side = parser.parse_args().side
    with tempfile.TemporaryDirectory() as place:
        folder, file = make_export(Path(place), side)
        with open_project(folder) as project:
            began = time.process_time()
            ingest_files(project, [file], Intake("benchmark"))
            print(f"{side * side} polygons in {time.process_time() - began:.1f} s of processor time")


if __name__ == "__main__":
    main()
