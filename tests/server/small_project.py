"""A small project on phantom slides whose next round is proposed without training."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from numpy.typing import NDArray
from PIL import Image

from aczerots.annotation.store.records import NewDraft, PickRecord, RoundState
from aczerots.annotation.store.store import ProjectStore
from aczerots.datasets.base import Dataset
from aczerots.datasets.phantom import phantom_dataset
from aczerots.engine.progress import Progress
from aczerots.errors import StorageError
from aczerots.loop.expert import draw, read_truth
from aczerots.project.folder import Project
from aczerots.project.settings import make_settings
from aczerots.project.slides import slide_record
from aczerots.server.access import Gate, Tokens
from aczerots.server.app import make_app
from aczerots.server.served import ServedProject
from aczerots.slides.base import Box, Slide
from aczerots.slides.open import open_slide
from aczerots.slides.tiling import cut_tiles
from tests.patience import PATIENCE, wait_until

http_get = partial(httpx.get, timeout=PATIENCE, verify=False)
http_post = partial(httpx.post, timeout=PATIENCE, verify=False)

TOKENS = {"ada": "token-of-ada", "ben": "token-of-ben"}
PICKS = [1, 2, 5]
"""Tiles of the round of :func:`small_round`, in its order."""


@cache
def _phantom(slides: int, size: int) -> Dataset:
    """Slides whose pixels are drawn once."""
    return phantom_dataset(slides, size=size, seed=3)


class SmallProject:
    """A project on PNG files of phantom slides; drafts are the truth, shifted: right in the main, wrong at the edges.

    Fitting measures nothing and the model knows the truth; everything else is the real thing.

    Attributes:
        data: Slides with truth; necrosis is unseen.
        store: The database.
        folder: Of the project and of the slides' files.
    """

    def __init__(
        self, folder: Path, database: str | None = None, *, slides: int = 2, size: int = 896, tile: int = 224
    ) -> None:
        data = _phantom(slides, size)
        taxonomy = data.taxonomy.with_unseen(["necrosis"])
        self.data = Dataset("phantom", taxonomy, data.samples)
        self.taxonomy, self.folder = taxonomy, folder
        self.store = ProjectStore(database or folder / "project.sqlite")
        self.fail_next = ""
        self._gate = threading.Event()
        self._gate.set()
        self._measured = threading.Event()
        self._measured.set()
        for sample in self.data.samples:
            path, whole = self.file(sample.slide.id), Box(0, 0, *sample.slide.size)
            Image.fromarray(sample.slide.read(whole, sample.slide.size)).save(path)
            slide = open_slide(path, id=sample.slide.id)
            self.store.rounds.add_slide(slide_record(slide, path, folder), cut_tiles(slide, tile))
        self.pool = self.store.rounds.tiles()
        self.project = Project(folder, make_settings(classes=taxonomy.classes, tile_size=tile), self.store)
        self.served = self.serve()

    def file(self, slide: str) -> Path:
        """The file of a slide."""
        return self.folder / f"{slide}.png"

    def serve(self) -> ServedProject:
        """The project as a server that was just started holds it."""
        return ServedProject(replace(self.project), self.advance, self.segment)

    def segment(self, slide: Slide, box: Box) -> NDArray[np.uint8]:
        """The truth."""
        return self.data[slide.id].truth.read(box, (box.width, box.height))

    def propose(self, number: int, tiles: list[int], *, draft: bool = True, shift: int = 9) -> None:
        """Begin a round with the given tiles."""
        scores = np.random.default_rng(number).random((len(tiles), 3))
        names = ("uncertainty", "diversity", "coverage")
        picks = [
            PickRecord(number, i + 1, t, float(scores[i].sum()), dict(zip(names, scores[i].tolist(), strict=True)))
            for i, t in enumerate(tiles)
        ]
        drafts = [NewDraft(t, self.draft(t, shift), {}, f"round-{number}") for t in tiles] if draft else []
        self.store.rounds.propose(number, "aczerots", picks, drafts)

    def draft(self, position: int, shift: int) -> NDArray[np.uint8]:
        """The truth, shifted to the right."""
        tile = self.pool[position]
        return np.roll(read_truth(self.data[tile.slide].truth, tile), shift, axis=1)

    def truth(self, position: int) -> NDArray[np.uint8]:
        """What an expert would draw."""
        tile = self.pool[position]
        return draw(self.data[tile.slide].truth, tile, self.taxonomy)

    def advance_to(self, number: int, tiles: list[int], *, draft: bool = True) -> None:
        """Close the newest round and propose another."""
        self.store.rounds.advance(number - 1, RoundState.FITTED)
        self.propose(number, tiles, draft=draft)

    def hold_next(self) -> threading.Event:
        """The next fit waits until the event is set."""
        self._gate = threading.Event()
        return self._gate

    def hold_measuring(self) -> threading.Event:
        """The next round is proposed, but the one before is measured until the event is set."""
        self._measured = threading.Event()
        return self._measured

    def advance(self, progress: Progress) -> None:
        """Measure nothing, propose the next tiles; the draft is better than before."""
        self._gate.wait(PATIENCE)
        if self.fail_next:
            raise StorageError(self.fail_next)
        newest = self.store.rounds.newest()
        assert newest is not None
        for i in range(3):
            progress.step("fit", i + 1, 3)
        metrics: dict[str, Any] = {"miou_seen": 0.3 + 0.1 * newest.number, "drawn_tiles": 4 * newest.number}
        metrics |= {"change": 0.1, "coverage": 0.5 + 0.1 * newest.number}
        metrics |= {f"iou:{self.taxonomy.names[i]}": 0.6 for i in self.taxonomy.seen_ids}
        self.store.rounds.advance(newest.number, RoundState.FITTED, model="m.safetensors")
        self.store.rounds.advance(newest.number, RoundState.EVALUATED, metrics=metrics)
        chosen = {p.tile for p in self.store.rounds.picks()}
        rest = [i for i in range(len(self.pool)) if i not in chosen]
        self.propose(newest.number + 1, rest[:4], shift=2)
        progress.step("measure", 0, 5)
        self._measured.wait(PATIENCE)


@contextmanager
def small_round(folder: Path) -> Iterator[SmallProject]:
    """A project of small tiles whose first round asks for :data:`PICKS`."""
    made = SmallProject(folder, slides=2, size=200, tile=64)
    made.propose(0, [])
    made.advance_to(1, PICKS)
    yield made
    made.store.close()


@contextmanager
def serving(project: SmallProject, tokens: dict[str, str] | None = None) -> Any:
    """The server on a free port in a thread; gives its address."""
    app = Gate(make_app(project.served), Tokens(tokens or TOKENS))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, thread.is_alive)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
