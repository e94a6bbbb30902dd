"""The work for a large export from QuPath grows with the polygons, not with polygons times tiles."""

from pathlib import Path

import numpy as np
import pytest
from benchmarks.ingest import make_export, star
from sqlalchemy import event

from aczerots.annotation.formats.raster import rasterise
from aczerots.project import ingest
from aczerots.project.folder import open_project
from aczerots.project.ingest import Intake, ingest_files

SIDE, TILES = 60, 36


@pytest.mark.slow
def test_each_of_thousands_of_polygons_is_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, file = make_export(tmp_path, SIDE)
    drawn: list[int] = []
    statements: list[str] = []

    def counted(regions, *rest):
        drawn.append(len(regions))
        return rasterise(regions, *rest)

    monkeypatch.setattr(ingest, "rasterise", counted)
    with open_project(folder) as project:
        event.listen(project.store._database._engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
        report = ingest_files(project, [file], Intake("ann"))[0]
        assert (len(drawn), sum(drawn)) == (TILES, SIDE**2)
        assert statements.count("BEGIN IMMEDIATE") == 1
        assert len(statements) <= 2 * TILES + 30, "two rows per tile are written, everything else once"
        assert (report.drawings, report.answers) == (SIDE**2, TILES)
        area = sum(int((m < 2).sum()) for m in project.store.answers.masks().values())
    x, y = star()[:-1].T
    exact = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2  # the shoelace formula
    assert area / SIDE**2 == pytest.approx(exact, rel=0.05)
