"""Slides from S3 and results to S3, on a server of this machine that speaks it."""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")
import s3fs  # noqa: E402  # needs the lines above

from aczerots.cli.app import main  # noqa: E402
from aczerots.engine.local import ProcessEngine  # noqa: E402
from aczerots.engine.progress import Silent  # noqa: E402
from aczerots.errors import StorageError  # noqa: E402
from aczerots.predict.slides import predict_slides  # noqa: E402
from small_maps import SMALL, digests, make_slides, save_zeroshot  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_zeroshot(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3fs.S3FileSystem]:
    """The server's files; the environment leads every process there."""
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    facts = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    facts |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "ACZEROTS_SCRATCH": str(tmp_path / "scratch")}
    for name, value in facts.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    # What it holds it shares with servers before it.
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    found = s3fs.S3FileSystem()
    found.mkdir("bucket")
    try:
        yield found
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()


class Interrupted(Silent):
    """Stops after some chunks, as Ctrl-C would."""

    def step(self, stage: str, done: int, total: int) -> None:
        if stage == "predict large" and done == 5:
            raise KeyboardInterrupt


def there(files: s3fs.S3FileSystem, prefix: str) -> dict[str, str]:
    """Digests of what the server has."""
    names = files.find(prefix)
    return {n.removeprefix(f"{prefix}/"): hashlib.sha256(files.cat_file(n)).hexdigest() for n in names}


def test_the_server_gets_the_same_bytes(
    files: s3fs.S3FileSystem,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slides = make_slides(tmp_path)[:4]
    predict_slides(model, slides, tmp_path / "here", options=SMALL)
    for slide in slides:
        files.put_file(str(slide), f"bucket/in/{slide.name}")
    files.put_file(str(model), "bucket/model.safetensors")
    places = [f"s3://bucket/in/{slide.name}" for slide in slides]
    arguments = ("s3://bucket/model.safetensors", places, "s3://bucket/maps/a")
    with pytest.raises(KeyboardInterrupt):
        predict_slides(*arguments, options=SMALL, progress=Interrupted())
    assert len(files.find("bucket/maps/a/.large.chunks")) == 5
    # Another machine, which has nothing of this one's scratch, goes on with two processes.
    monkeypatch.setenv("ACZEROTS_SCRATCH", str(tmp_path / "other"))
    rows, failures = predict_slides(
        *arguments, options=SMALL, engine=ProcessEngine(["cpu", "cpu"], threads=torch.get_num_threads())
    )
    assert len(rows) == 4
    assert failures == []
    assert there(files, "bucket/maps/a") == digests(tmp_path / "here")
    assert not list((tmp_path / "other").glob("slides-*/*")), "copies of slides go with their process"


def test_what_cannot_be_reached_is_told(
    files: s3fs.S3FileSystem,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(SystemExit) as stop:
        main(["predict", str(model), "s3://bucket/in/none.svs", "--out", out])
    assert stop.value.code == 1
    assert "s3://bucket/in/none.svs: the file is missing" in capsys.readouterr().err
    slide = make_slides(tmp_path)[1]
    # Nobody listens at this port.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageError, match="cannot be reached"):
        predict_slides(model, [slide], "s3://bucket/maps", options=SMALL)


def test_a_project_copies_its_slides_from_the_server(files: s3fs.S3FileSystem, tmp_path: Path) -> None:
    rng, images = np.random.default_rng(0), tmp_path / "images"
    images.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 256, (128, 192, 3), dtype=np.uint8)).save(images / name)
        files.put_file(str(images / name), f"bucket/in/{name}")
    folder = tmp_path / "lab"
    words = ["--classes", "tumor,stroma", "--tile-size", "64", "--budget", "2"]
    for command in (["init", str(folder), "--slides", "s3://bucket/in/*.png", *words], ["embed", str(folder)]):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 0
    assert digests(folder / "slides") == digests(images)
