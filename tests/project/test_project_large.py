"""A large export from QuPath is taken in seconds."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from tests.project.conftest import ask_for, write_image

from aczerots.project.folder import init_project, open_project
from aczerots.project.ingest import Intake, ingest_files
from aczerots.project.settings import make_settings

SIDE, STEP = 100, 20
"""Polygons per row, and level-0 pixels from one to the next."""
LIMIT = 20.0
"""Seconds for all of them."""


def test_ten_thousand_polygons(tmp_path: Path):
    image = write_image(tmp_path / "case.png", SIDE * STEP, SIDE * STEP, 0)
    settings = make_settings(classes=[{"name": "tumor"}, {"name": "stroma"}], tile_size=200)
    init_project(tmp_path / "project", [str(image)], settings)
    angles = np.linspace(0, 2 * np.pi, 25)
    star = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (6 + 2 * np.sin(3 * angles))[:, None]
    star[-1] = star[0]
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [(star + STEP * np.array([x + 0.5, y + 0.5])).tolist()],
            },
            "properties": {"objectType": "annotation", "classification": {"name": ("tumor", "stroma")[(x + y) % 2]}},
        }
        for x in range(SIDE)
        for y in range(SIDE)
    ]
    file = tmp_path / "case.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with open_project(tmp_path / "project") as project:
        tiles = len(project.store.rounds.tiles())
        ask_for(project, range(tiles))
        began = time.process_time()  # other programs on the machine do not count
        report = ingest_files(project, [file], Intake("ann"))[0]
        assert time.process_time() - began < LIMIT
        assert (report.drawings, report.answers, tiles) == (10_000, 100, 100)
        area = sum(int((m < 2).sum()) for m in project.store.answers.masks().values())
    x, y = star[:-1].T
    exact = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2  # the shoelace formula
    assert area / 10_000 == pytest.approx(exact, rel=0.05)
