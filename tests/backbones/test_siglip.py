"""The SigLIP backbone against transformers itself."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tiny_siglip import BIAS, CONTEXT, MEAN, PATCH, SCALE, SIDE, STD, WIDTH, save_tiny_siglip

from aczerots.backbones.aligned import AlignedBackbone
from aczerots.backbones.hf import load_hf
from aczerots.backbones.locator import parse_locator
from aczerots.errors import InputError, MissingExtraError

TEXTS = ["tumor", "small dark nuclei", "a"]


def load(folder: Path, method: str = "") -> AlignedBackbone:
    return load_hf(parse_locator(f"hf:{folder}{method}"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_siglip(tmp_path_factory.mktemp("siglip"))


@pytest.fixture(scope="module")
def backbone(folder: Path) -> AlignedBackbone:
    return load(folder)


def images(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def reference(folder: Path):
    from transformers import SiglipModel

    return SiglipModel.from_pretrained(folder).eval()


@torch.no_grad()
def test_images_of_one_patch_texts_and_scores_are_those_of_transformers(tmp_path):
    """An image of one patch has exactly its pooled embedding."""
    from transformers import AutoTokenizer

    folder = save_tiny_siglip(tmp_path, side=PATCH)
    backbone = load(folder)

    tokenizer, model = AutoTokenizer.from_pretrained(folder), reference(folder)
    ids = tokenizer(TEXTS, padding="max_length", max_length=CONTEXT, return_tensors="pt")["input_ids"]
    pixels = images(2, 3, PATCH, PATCH)
    out = model(input_ids=ids, pixel_values=normalised(pixels))
    image, text = backbone.encode_image(pixels).aligned[..., 0, 0], backbone.encode_text(TEXTS)
    torch.testing.assert_close(image, out.image_embeds, atol=1e-5, rtol=0)
    torch.testing.assert_close(text, out.text_embeds, atol=1e-5, rtol=0)
    scores = backbone.info.logit_scale * image @ text.T
    torch.testing.assert_close(scores + BIAS, out.logits_per_image, atol=1e-3, rtol=0)
    torch.testing.assert_close(scores.softmax(1), out.logits_per_image.softmax(1), atol=1e-4, rtol=0)


@torch.no_grad()
def test_an_image_of_one_patch_is_its_pooled_embedding(tmp_path):
    folder = save_tiny_siglip(tmp_path, side=PATCH)
    pixels = images(3, 3, PATCH, PATCH)
    expected = reference(folder).vision_model(normalised(pixels)).pooler_output
    aligned = load(folder).encode_image(pixels).aligned
    assert aligned.shape == (3, WIDTH, 1, 1)
    torch.testing.assert_close(aligned[..., 0, 0], F.normalize(expected, dim=1), atol=1e-5, rtol=0)


@torch.no_grad()
def test_layers_are_the_sum_over_all_blocks(folder, backbone):
    pixels = images(2, 3, SIDE, SIDE)
    states = reference(folder).vision_model(normalised(pixels), output_hidden_states=True).hidden_states
    assert len(states) == 1 + 3
    expected = sum(states[1:]).mT.reshape(2, WIDTH, 4, 4)
    torch.testing.assert_close(backbone.encode_image(pixels).layers, expected, atol=1e-5, rtol=1e-5)


def by_hand(folder: Path, states: list[np.ndarray], method: str) -> np.ndarray:
    """Aligned tokens [n, width] of one image from the hidden states, in plain numpy on the stored tensors."""
    w = {k: v.double().numpy() for k, v in load_file(folder / "model.safetensors").items()}

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-6) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def gelu(x):
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    def mlp(x, name):
        return linear(gelu(linear(x, f"{name}.fc1")), f"{name}.fc2")

    def alike(r, v):
        heads = []
        for h in (slice(0, WIDTH // 2), slice(WIDTH // 2, WIDTH)):
            a = np.exp(r[:, h] @ r[:, h].T / math.sqrt(WIDTH // 2))
            heads.append(a / a.sum(1, keepdims=True) @ v[:, h])
        return np.concatenate(heads, 1)

    block = f"vision_model.encoder.layers.{len(states) - 2}"
    x = states[-2]
    q, k, v = (linear(norm(x, f"{block}.layer_norm1"), f"{block}.self_attn.{n}_proj") for n in "qkv")
    if method == "layers":
        y = np.sum(states[1:], axis=0)
    elif method == "qq":
        y = linear(alike(q, v), f"{block}.self_attn.out_proj")
    elif method == "qq+kk":
        y = x + linear(alike(q, v) + alike(k, v), f"{block}.self_attn.out_proj")
        y = y + mlp(norm(y, f"{block}.layer_norm2"), f"{block}.mlp")
    else:
        y = states[-1]
    y = norm(y, "vision_model.post_layernorm")
    head = "vision_model.head"
    v = y @ w[f"{head}.attention.in_proj_weight"][2 * WIDTH :].T + w[f"{head}.attention.in_proj_bias"][2 * WIDTH :]
    h = linear(v, f"{head}.attention.out_proj")
    return h + mlp(norm(h, f"{head}.layernorm"), f"{head}.mlp")


@torch.no_grad()
@pytest.mark.parametrize("method", ["value", "qq+kk", "qq", "layers"])
def test_dense_method_by_plain_algebra(folder, method):
    pixels = images(1, 3, SIDE, SIDE)
    states = reference(folder).vision_model(normalised(pixels), output_hidden_states=True).hidden_states
    z = by_hand(folder, [s[0].double().numpy() for s in states], method)
    expected = (z / np.linalg.norm(z, axis=1, keepdims=True)).T.reshape(WIDTH, 4, 4)
    backbone = load(folder, f"#{method}")
    assert backbone.info.method == method
    np.testing.assert_allclose(backbone.encode_image(pixels).aligned[0].numpy(), expected, atol=1e-5)


def test_facts(backbone):
    info = backbone.info
    assert (info.dim, info.layer_dim, info.stride, info.input_size) == (WIDTH, WIDTH, PATCH, SIDE)
    assert (info.method, info.large) == ("value", "windows")
    assert info.logit_scale == pytest.approx(SCALE, rel=1e-5)  # not clipped: SigLIP never was


def test_methods_have_hashes_of_their_own(folder, backbone):
    hashes = {load(folder, f"#{m}").info.hash for m in ("value", "qq", "qq+kk", "layers", "value,whole")}
    assert len(hashes) == 5
    assert backbone.info.hash in hashes


def test_long_text_is_the_weighted_mean_of_its_sentences(backbone):
    first, second = "pale fat cells.", "dark nuclei."
    a, b = backbone.encode_text([first, second])
    mean = (len(first) + 1) * a + (len(second) + 1) * b
    found = backbone.encode_text([f"{first} {second}"])[0]
    torch.testing.assert_close(found, mean / mean.norm(), atol=1e-6, rtol=0)


def change_config(folder: Path, **facts: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("siglip2", "reads CLIP and PLIP .clip., SigLIP, SigLIP 2 of fixed size"),
        ("dinov2", "vision-only model .dinov2., it has no text.*--refine-with hf:"),
        ("dinov3_vit", "--refine-with hf:"),
        (None, "of type 'None'"),
    ],
)
def test_wrong_type_is_one_clear_error(tmp_path, kind, message):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_tokenizer_that_lacks_its_library(folder, monkeypatch):
    def fail(*args: object, **options: object) -> None:
        raise ImportError("SiglipTokenizer requires the SentencePiece library")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", fail)
    with pytest.raises(MissingExtraError, match=r"aczerots\[hf\]"):
        load(folder)


def test_without_pooling_head(tmp_path):
    folder = save_tiny_siglip(tmp_path)
    facts = json.loads((folder / "config.json").read_text())["vision_config"]
    change_config(folder, vision_config=facts | {"vision_use_head": False})
    with pytest.raises(InputError, match="not aligned with text"):
        load(folder)
