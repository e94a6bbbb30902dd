"""Names of classes and slides are text everywhere: terminal, page, report, CSV, Markdown, GeoJSON and XML."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from aczerots.annotation.formats.asap import read_asap
from aczerots.annotation.formats.qupath_classes import locate_class, qupath_names
from aczerots.cli.console import ConsoleProgress, head_of, show_rows
from aczerots.errors import InputError, printable
from aczerots.predict.areas import write_areas
from aczerots.predict.polygons import polygon_features
from aczerots.predict.slide_map import SlideMap
from aczerots.report.page import render
from aczerots.report.tables import read_metrics, read_selections
from aczerots.server.monai.labels import write_asap_label
from aczerots.simulation.experiment.table import write_table
from aczerots.simulation.run_folder import _csv
from aczerots.slides.base import Box
from aczerots.storage.csv_file import cell_text, text_cell
from aczerots.taxonomy import Taxonomy, TissueClass
from tests.annotation.qupath_reader import read_class

NAMES = (
    "adenoma [low grade]",
    "adenoma [high grade]",
    "[/bold]",
    "stroma [/fat]",
    "[link=https://example.org]here[/link]",
    "tumor:warning:",
    "fat_tissue",
    "fat tissue",
    "=1+1",
    "+x",
    "-x",
    "@SUM(A1)",
    "'=1",
    "'quoted'",
    '"G3", solid',
    "two\nlines",
    "half\u2028line",
    "\x1b[2J",
    "a:b",
    "a: b",
    "a : b",
    ":",
    "<script>alert(1)</script>",
    "&amp; | $x$ `code` *star*",
    "image",
)
TAXONOMY = Taxonomy(classes=tuple(TissueClass(name=name, color=(i, 0, 0)) for i, name in enumerate(NAMES)))


def test_a_table_shows_every_name_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([dict.fromkeys(NAMES, 0.5)], "[/title] :smile:", classes=NAMES)
    shown = capsys.readouterr().out
    for name in NAMES:
        assert printable(name).splitlines()[0] in shown
    assert "[/title] :smile:" in shown
    assert "\x1b" not in shown
    show_rows([{"class": name, f"iou:{name}": 0.5} for name in NAMES], "Classes")
    assert "stroma [/fat]" in capsys.readouterr().out
    assert [head_of(n) for n in ("iou:fat_tissue", "drafts_untouched")] == ["iou:fat_tissue", "drafts untouched"]


def test_columns_too_narrow_for_a_name_fold_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    names = ["adenocarcinoma-low-grade", "adenocarcinoma-high-grade"]
    show_rows([dict.fromkeys(names, 0.5)], "", classes=names)
    assert "\N{HORIZONTAL ELLIPSIS}" not in capsys.readouterr().out


def test_progress_takes_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    progress = ConsoleProgress()
    progress.console = Console(stderr=True, force_terminal=True, color_system=None)
    progress.say("slide [/x] :smile: \x1b[2J")
    progress._stage = "predict [/x]"
    progress._open(2)
    progress.step("predict [/x]", 2, 2)
    shown = capsys.readouterr().err
    assert "slide [/x] :smile: \\x1b[2J" in shown
    assert "predict [/x]" in shown


def test_errors_hold_no_control_characters() -> None:
    assert str(InputError("class '\x1b[2J' is unknown")) == "class '\\x1b[2J' is unknown"
    assert printable("\u202eevil\ud800, na\u00efve \U0001f600") == "\\u202eevil\\ud800, na\u00efve \U0001f600"


def test_no_cell_is_a_formula_and_every_cell_is_read_back(tmp_path: Path) -> None:
    for name in (*NAMES, "\t=1", "", "'", "''=1", "ordinary"):
        assert not text_cell(name).startswith(("=", "+", "-", "@", "\t"))
        assert cell_text(text_cell(name)) == name
    areas = tmp_path / "areas.csv"
    write_areas(areas, [SlideMap("=slide", tuple(range(len(NAMES))), 0.5)], TAXONOMY)
    with areas.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(cell_text(row["class"]) for row in rows) == NAMES
    assert rows[0]["slide"] == "'=slide"
    write_table([{"dataset": "=d", "unseen": "-x + @y", "hiou": -0.5}], tmp_path)
    assert (tmp_path / "results.csv").read_text().splitlines()[1] == "'=d,'-x + @y,-0.5"


def test_tables_of_a_run_are_read_back_whatever_the_names(tmp_path: Path) -> None:
    head = {"round": 0, "labelled_tiles": 0, "labelled_fraction": 0.0}
    scores = dict.fromkeys(("pacc", "miou_seen", "miou_unseen", "hiou"), 0.5)
    ious = {f"iou:{name}": i / 100 for i, name in enumerate(NAMES)}
    (tmp_path / "metrics.csv").write_bytes(_csv([head | scores | ious]).encode())
    (found,) = read_metrics(tmp_path / "metrics.csv", NAMES)
    assert found.iou == {name: i / 100 for i, name in enumerate(NAMES)}
    rows = [{"tile": "=s@0,0,4,4", "round": 1, "rank": 1, "score": -0.5}]
    (tmp_path / "selections.csv").write_text(_csv(rows))
    assert "'=s@0" in (tmp_path / "selections.csv").read_text()
    (pick,) = read_selections(tmp_path / "selections.csv")
    assert (pick.tile, pick.score) == ("=s@0,0,4,4", -0.5)


def test_markdown_shows_names_and_obeys_none() -> None:
    odd = "<b>|[x](y)*`"
    values = dict.fromkeys(("title", "name", "notes", "goal"), "t") | {"runs": 1, "hashes": (), "overall": ()}
    scenario = {"dataset": odd, "unseen": odd, "budget": "5 %", "reference": odd, "arms": ()}
    text = render("experiment.md", values | {"scenarios": [(scenario, "", "")]})
    assert text.count(r"\<b\>\|\[x\](y)\*\`") == 3


def test_qupath_can_tell_all_classes_apart() -> None:
    names = qupath_names(TAXONOMY)
    assert len(set(names)) == len(names)
    assert names[NAMES.index("a: b")] == "a: b"
    assert [names[NAMES.index(n)] for n in ("a:b", "a : b")] == ["a: b (1)", "a: b (2)"]
    for label, name in enumerate(names):
        assert ": ".join(read_class({"name": name, "color": [0, 0, 0]})[0]) == name
        assert locate_class(name, TAXONOMY, "here") == label
        assert locate_class(NAMES[label], TAXONOMY, "here") == label
    labels = np.arange(len(NAMES), dtype=np.uint8).repeat(8)[None].repeat(8, 0)
    features = polygon_features(labels, TAXONOMY, (1, 1), smallest=1)
    text = json.dumps(features)
    assert [f["properties"]["classification"]["name"] for f in json.loads(text)] == list(names)


def test_xml_holds_every_name_and_gives_it_back() -> None:
    labels = np.arange(len(NAMES), dtype=np.uint8).repeat(8)[None].repeat(8, 0)
    text = write_asap_label(labels, Box(0, 0, labels.shape[1], 8), 'slide "x" <&>\x1b', TAXONOMY, 0)
    assert len(list(ET.fromstring(text).iter("Annotation"))) == len(NAMES)
    assert [d.label for d in read_asap(text.encode(), TAXONOMY).drawings] == list(range(len(NAMES)))
