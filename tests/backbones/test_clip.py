"""The CLIP backbone against transformers itself and against plain matrix algebra."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tiny_clip import CONTEXT, DIM, PATCH, SIDE, WIDTH, save_tiny_clip

from aczerots.backbones.aligned import AlignedBackbone
from aczerots.backbones.hf import load_hf
from aczerots.backbones.locator import parse_locator
from aczerots.backbones.windows import encode_large
from aczerots.errors import InputError, MissingExtraError

MEAN, STD = (torch.tensor(v)[:, None, None] for v in ([0.7, 0.5, 0.6], [0.2, 0.25, 0.15]))


def load_clip(source: str) -> AlignedBackbone:
    return load_hf(parse_locator(f"hf:{source}"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def backbone(folder: Path) -> AlignedBackbone:
    return load_clip(str(folder))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of the folder that a test may damage."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def images(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def reference(folder: Path):
    from transformers import CLIPModel

    return CLIPModel.from_pretrained(folder).eval()


@torch.no_grad()
def test_text_is_that_of_transformers(folder, backbone):
    from transformers import AutoTokenizer

    sentences = ["tumor", "Lymphocytes, small.", "a", "fat cells"]
    batch = AutoTokenizer.from_pretrained(folder)(sentences, padding=True, return_tensors="pt")
    expected = reference(folder).get_text_features(**batch).pooler_output
    expected = expected / expected.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(backbone.encode_text(sentences), expected, atol=1e-5, rtol=0)


def test_value_path_by_plain_algebra(tmp_path):
    """One layer: the cell depends on its own patch only, so each can be computed by hand."""
    folder = save_tiny_clip(tmp_path, layers=1)
    w = load_file(folder / "model.safetensors")

    def norm(x, name):
        centred = x - x.mean()
        scale = torch.sqrt((centred**2).mean() + 1e-5)
        return centred / scale * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x, name):
        return w[f"{name}.weight"] @ x + w[f"{name}.bias"]

    pixels = images(1, 3, SIDE, SIDE)
    aligned = load_clip(str(folder)).encode_image(pixels).aligned
    kernel = w["vision_model.embeddings.patch_embedding.weight"].reshape(WIDTH, -1)
    position = w["vision_model.embeddings.position_embedding.weight"]
    block = "vision_model.encoder.layers.0"
    for row, column in [(0, 0), (1, 3), (3, 2)]:
        patch = pixels[0, :, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH]
        token = kernel @ ((patch / 255 - MEAN) / STD).flatten() + position[1 + row * (SIDE // PATCH) + column]
        x = norm(norm(token, "vision_model.pre_layrnorm"), f"{block}.layer_norm1")
        x = linear(linear(x, f"{block}.self_attn.v_proj"), f"{block}.self_attn.out_proj")
        z = w["visual_projection.weight"] @ norm(x, "vision_model.post_layernorm")
        torch.testing.assert_close(aligned[0, :, row, column], z / z.norm(), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("method", ["value", "qq+kk", "qq", "layers"])
def test_dense_method_is_that_of_its_paper(folder, method):
    """Attention written out head by head with transformers' own parts; the class token is a key and is dropped."""
    pixels = images(2, 3, SIDE, SIDE)
    model = reference(folder)
    vision, block = model.vision_model, model.vision_model.encoder.layers[-1]
    states = vision((pixels / 255 - MEAN) / STD, output_hidden_states=True).hidden_states
    x, attention = states[-2], block.self_attn
    q, k, v = (p(block.layer_norm1(x)) for p in (attention.q_proj, attention.k_proj, attention.v_proj))

    def alike(r):
        parts = [(r[..., h : h + WIDTH // 2], v[..., h : h + WIDTH // 2]) for h in (0, WIDTH // 2)]
        return torch.cat([(r @ r.mT / math.sqrt(WIDTH // 2)).softmax(-1) @ v for r, v in parts], dim=-1)

    if method == "qq+kk":
        y = x + attention.out_proj(alike(q) + alike(k))
        y = y + block.mlp(block.layer_norm2(y))
    else:
        y = {"value": v, "qq": alike(q)}[method] if method != "layers" else sum(states[1:])
        y = y if method == "layers" else attention.out_proj(y)
    z = F.normalize(model.visual_projection(vision.post_layernorm(y))[:, 1:], dim=2)
    found = load_clip(f"{folder}#{method}").encode_image(pixels).aligned
    torch.testing.assert_close(found, z.mT.reshape(2, DIM, 4, 4), atol=1e-5, rtol=0)


@torch.no_grad()
def test_large_image_without_overlap_is_its_tiles_alone(folder, backbone):
    pixels = images(1, 3, 2 * SIDE, SIDE)
    features = encode_large(
        (pixels / 255 - MEAN) / STD, backbone._encode, side=SIDE, stride=PATCH, overlap=0
    )  # the windows of encode_image overlap
    alone = [backbone.encode_image(pixels[:, :, top : top + SIDE]) for top in (0, SIDE)]
    torch.testing.assert_close(features.aligned, torch.cat([a.aligned for a in alone], 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.layers, torch.cat([a.layers for a in alone], 2), atol=1e-4, rtol=1e-4)
    overlapping = backbone.encode_image(pixels).aligned
    torch.testing.assert_close(overlapping[:, :, 0], alone[0].aligned[:, :, 0], atol=1e-5, rtol=0)
    assert not torch.allclose(overlapping[:, :, 3], alone[0].aligned[:, :, 3], atol=1e-3)


@torch.no_grad()
def test_layers_are_the_sum_over_all_blocks(folder, backbone):
    pixels = images(2, 3, SIDE, SIDE)
    states = reference(folder).vision_model((pixels / 255 - MEAN) / STD, output_hidden_states=True).hidden_states
    assert len(states) == 1 + 3
    expected = (states[1] + states[2] + states[3])[:, 1:]
    layers = backbone.encode_image(pixels).layers
    for row, column in [(0, 0), (0, 3), (2, 1)]:
        torch.testing.assert_close(
            layers[:, :, row, column], expected[:, row * (SIDE // PATCH) + column], atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 64), (33, 39), (5, 17)])
def test_features_of_any_tile(backbone, height, width):
    features = backbone.encode_image(images(1, 3, height, width))
    cells = (math.ceil(height / PATCH), math.ceil(width / PATCH))
    assert features.aligned.shape == (1, DIM, *cells)
    assert features.layers.shape == (1, WIDTH, *cells)
    assert torch.isfinite(features.layers).all()


@torch.no_grad()
def test_positions_are_interpolated_as_by_transformers(folder):
    pixels = images(1, 3, 48, 24)
    vision = reference(folder).vision_model
    states = vision((pixels / 255 - MEAN) / STD, interpolate_pos_encoding=True, output_hidden_states=True)
    expected = sum(states.hidden_states[1:])[0, 1:].reshape(6, 3, WIDTH).movedim(-1, 0)
    whole = load_clip(f"{folder}#whole")
    assert (whole.info.large, whole.info.locator) == ("whole", f"hf:{folder}#whole")
    torch.testing.assert_close(whole.encode_image(pixels).layers[0], expected, atol=1e-5, rtol=1e-5)


def test_uneven_sides_are_stretched_not_padded(backbone):
    """An even colour stays even up to its edge, whatever the side."""
    even = torch.tensor([200, 120, 160], dtype=torch.uint8)[None, :, None, None]
    uneven = backbone.encode_image(even.expand(1, 3, 30, 27)).layers
    exact = backbone.encode_image(even.expand(1, 3, 32, 32)).layers
    torch.testing.assert_close(uneven, exact, atol=1e-4, rtol=1e-4)


def test_facts(folder, backbone):
    info = backbone.info
    assert (info.dim, info.layer_dim, info.stride, info.method) == (DIM, WIDTH, PATCH, "value")
    assert info.locator == f"hf:{folder}"
    assert info.revision.startswith("sha256:")
    stored = load_file(folder / "model.safetensors")["logit_scale"].item()
    assert info.logit_scale == pytest.approx(math.exp(stored), rel=1e-6)


def test_revision_follows_the_content_not_the_place(copy, backbone):
    assert load_clip(str(copy)).info.hash == backbone.info.hash
    (copy / "README.md").write_text("notes")
    assert load_clip(str(copy)).info.hash == backbone.info.hash
    rewrite(copy, lambda tensors: tensors["visual_projection.weight"].mul_(1.001))
    assert load_clip(str(copy)).info.hash != backbone.info.hash


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_logit_scale_is_at_most_100(copy):
    rewrite(copy, lambda tensors: tensors["logit_scale"].fill_(7.0))
    assert load_clip(str(copy)).info.logit_scale == 100


def test_image_statistics_default_to_clip(copy, folder):
    pixels = images(1, 3, SIDE, SIDE)
    (copy / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_mean": [0.48145466, 0.4578275, 0.40821073],
                "image_std": [0.26862954, 0.26130258, 0.27577711],
            }
        )
    )
    stated = load_clip(str(copy)).encode_image(pixels).layers
    (copy / "preprocessor_config.json").unlink()
    assert torch.equal(load_clip(str(copy)).encode_image(pixels).layers, stated)
    assert not torch.allclose(load_clip(str(folder)).encode_image(pixels).layers, stated)


def test_long_text_is_the_weighted_mean_of_its_sentences(backbone):
    """Start and end token and one token a letter: the lengths are counted by hand."""
    first, second = "pale fat cells.", "dark nuclei, no."
    a, b = backbone.encode_text([first, second])
    na, nb = 2 + len("palefatcells."), 2 + len("darknuclei,no.")
    assert na <= CONTEXT < na + nb - 2
    mean = na * a + nb * b
    both = backbone.encode_text([f"{first} {second}", "tumor"])
    torch.testing.assert_close(both[0], mean / mean.norm(), atol=1e-6, rtol=0)
    torch.testing.assert_close(both[1:], backbone.encode_text(["tumor"]), atol=1e-6, rtol=0)


def test_end_of_a_long_text_counts(backbone):
    long = "small round cells with dark nuclei in dense sheets "
    assert not torch.allclose(*backbone.encode_text([long * 4 + "fat", long * 4 + "bone"]), atol=1e-4)


def test_no_text(backbone):
    assert backbone.encode_text([]).shape == (0, DIM)


def damage_config(folder: Path, **facts: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no configuration": (lambda f: (f / "config.json").unlink(), r"has no config\.json"),
    "broken configuration": (lambda f: (f / "config.json").write_text("{"), r"config\.json cannot be read"),
    "configuration of another kind": (lambda f: (f / "config.json").write_text("[]"), "not a JSON object"),
    "another model": (lambda f: damage_config(f, model_type="bert"), "of type 'bert'.*reads CLIP and PLIP"),
    "bad value": (lambda f: damage_config(f, projection_dim="many"), "cannot be loaded"),
    "another shape": (lambda f: damage_config(f, projection_dim=DIM + 1), "cannot be loaded"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no weights in safetensors"),
    "pickled weights": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        "Pickled weights are never loaded",
    ),
    "broken weights": (lambda f: (f / "model.safetensors").write_bytes(b"no"), "cannot be loaded"),
    "cut weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-99]),
        "cannot be loaded",
    ),
    "weights that lack a tensor": (
        lambda f: rewrite(f, lambda t: t.pop("visual_projection.weight")),
        "lack 1 tensors, visual_projection.weight",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer"),
    "broken tokenizer": (lambda f: (f / "tokenizer.json").write_text("{"), r"tokenizer\.json cannot be read"),
    "empty tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), "holds no tokenizer"),
    "broken statistics": (
        lambda f: (f / "preprocessor_config.json").write_text('{"image_std": [1, 0, 1]}'),
        "three numbers each",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_folder_is_one_clear_error(copy, name):
    damage, message = DAMAGES[name]
    damage(copy)
    with pytest.raises(InputError, match=message) as caught:
        load_clip(str(copy))
    assert str(copy) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tokenizer_of_another_model(copy):
    config = json.loads((copy / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 5
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="does not belong to the weights"):
        load_clip(str(copy))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("./nowhere", "is not a folder"),
        ("/nowhere/at/all", "is not a folder"),
        ("two words", "neither a folder nor a hub id"),
        ("nobody/nothing", "not in the local cache"),
    ],
)
def test_source_that_is_not_there(source, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        load_clip(source)
    assert caught.value.fix


def hub_error(name: str) -> Exception:
    """An error of the hub as it is after an answer from it."""
    from huggingface_hub import errors

    kind = getattr(errors, name)
    return kind.__new__(kind, name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GatedRepoError", "access is refused.*Accept its terms"),
        ("RepositoryNotFoundError", "no such model"),
        ("RevisionNotFoundError", "no revision 'v9'"),
        ("HfHubHTTPError", "cannot be downloaded"),
    ],
)
def test_answers_of_the_hub(name, message, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> str:
        raise hub_error(name)

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(InputError, match=message) as caught:
        load_clip("someone/clip@v9")
    assert caught.value.where == "hf:someone/clip@v9"


def test_commit_of_the_hub_is_the_revision(folder, monkeypatch, tmp_path):
    asked = {}
    snapshot = shutil.copytree(folder, tmp_path / "0123456789abcdef0123456789abcdef01234567")

    def download(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    info = load_clip("someone/clip@refs/pr/3").info
    assert info.revision == snapshot.name
    assert (asked["name"], asked["revision"]) == ("someone/clip", "refs/pr/3")
    assert not any("bin" in pattern for pattern in asked["allow_patterns"])


def test_without_transformers(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"aczerots\[hf\]"):
        load_clip(str(folder))


def test_loading_is_quiet_and_changes_no_switch(folder, capfd):
    from huggingface_hub.utils import are_progress_bars_disabled
    from transformers.utils import logging

    def switches() -> tuple[object, ...]:
        return logging.get_verbosity(), logging.is_progress_bar_enabled(), are_progress_bars_disabled()

    before = switches()
    load_clip(str(folder)).encode_text(["a very long text that does not fit into the context"])
    assert switches() == before
    assert capfd.readouterr() == ("", "")
