"""How long a project of many small images takes: ``init``, ``status``, and a server until it answers.

python -m benchmarks.many_slides --slides 300,3000
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import numpy as np
from PIL import Image

PROGRAM = [sys.executable, "-m", "aczerots.cli.app"]
SIDE = 224
"""Pixels of an image: one tile."""


def make_images(folder: Path, count: int) -> None:
    """Images of coarse noise."""
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = rng.integers(90, 230, (29, 29, 3)).astype(np.uint8)
        Image.fromarray(coarse).resize((SIDE, SIDE)).save(folder / f"s{i:05d}.png")


def processor_time() -> float:
    """Seconds of all programs that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def serve(project: Path) -> float:
    """Seconds until the page and its first question are answered."""
    began = time.monotonic()
    command = [*PROGRAM, "annotate", str(project), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        said = ""
        while not said.endswith("}\n]\n}\n") and not said.endswith(" ]\n}\n"):
            said += server.stdout.readline()
        page = json.loads(said)["links"][0]["url"]
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        for url in (page, page.partition("?")[0] + "api/project"):
            opener.open(url).read()
        took = time.monotonic() - began
        server.send_signal(signal.SIGINT)
    return took


def measure(count: int) -> list[tuple[str, float, float]]:
    """(what, wall seconds, processor seconds)."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        images, project = Path(folder) / "images", Path(folder) / "project"
        images.mkdir()
        make_images(images, count)
        classes = ["--classes", "tumor,stroma,necrosis:unseen"]
        init = [*PROGRAM, "init", str(project), "--slides", str(images / "*.png"), *classes]
        for name, command in (("init", init), ("status", [*PROGRAM, "status", str(project)])):
            before, began = processor_time(), time.monotonic()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            rows.append((name, time.monotonic() - began, processor_time() - before))
        before = processor_time()
        took = serve(project)
        rows.append(("server answers", took, processor_time() - before))
    return rows


def main() -> None:
    """Print a row per number of images and command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", default="300,3000", help="numbers of images")
    sizes = [int(n) for n in parser.parse_args().slides.split(",")]
    os.environ["OMP_NUM_THREADS"] = "1"
    print("| images | command | wall s | processor s |\n|---|---|---|---|")
    for count in sizes:
        for name, wall, processor in measure(count):
            print(f"| {count:,} | {name} | {wall:.1f} | {processor:.1f} |", flush=True)


if __name__ == "__main__":
    main()
