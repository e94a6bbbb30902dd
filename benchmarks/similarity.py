"""Similarity of phantom slides to sentences, as a picture: ``python -m benchmarks.similarity --out FILE``."""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
import torch.nn.functional as F

from aczerots.backbones.embedded import EmbeddedBackbone
from aczerots.datasets.phantom.slide import SlideRecipe, generate

SENTENCES = (
    "tumor nests",
    "wavy pink collagen with spindle nuclei",
    "small round dark crowded nuclei",
    "granular pink debris",
    "large empty cells with thin walls",
    "glands with goblet cells",
    "red blood cells",
)
SEED = 20262
SIDE = 448
BRIGHT = 0.8


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/embedded-phantom.png"))
    parser.add_argument("--slides", type=int, default=4)
    options = parser.parse_args()
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    backbone = EmbeddedBackbone()
    texts = backbone.encode_text(SENTENCES)
    pixels = [generate(SlideRecipe(SEED, i, (SIDE, SIDE), 0.5))[0] for i in range(options.slides)]
    aligned = backbone.encode_image(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()).aligned
    maps = F.interpolate(torch.einsum("bdhw,cd->bchw", aligned, texts), size=(SIDE, SIDE), mode="bilinear")
    rows, columns = options.slides, len(SENTENCES) + 1
    figure, axes = plt.subplots(rows, columns, figsize=(1.9 * columns, 2 * rows), squeeze=False, layout="constrained")
    for i, image in enumerate(pixels):
        axes[i][0].imshow(image)
        for j, sentence in enumerate(SENTENCES, start=1):
            axes[i][j].imshow(maps[i, j - 1], vmin=0, vmax=BRIGHT, cmap="magma")
            if i == 0:
                words = sentence.split()
                half = (len(words) + 1) // 2
                axes[i][j].set_title(f"{' '.join(words[:half])}\n{' '.join(words[half:])}", fontsize=8)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.savefig(options.out, dpi=100)


if __name__ == "__main__":
    main()
