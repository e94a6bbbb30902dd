"""open_clip: models saved by open_clip, loaded through our locator, against open_clip's own forward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from aczerots.backbones.aligned import AlignedBackbone
from aczerots.backbones.dense import METHODS
from aczerots.backbones.locate import locate_backbone
from aczerots.errors import InputError, SettingsError
from tiny_open_clip import CONFIGS, save_tiny

TEXTS = ["Tumour cells, a gland.", "a", "fat & fibrous  tissue <b>"]


@pytest.fixture(scope="module", params=CONFIGS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(request.param, tmp_path_factory.mktemp("models") / request.param.split(",")[0])


@pytest.fixture(scope="module")
def upstream(folder: Path) -> Any:
    return open_clip.create_model(f"local-dir:{folder}", pretrained_text=False).eval()


@pytest.fixture(scope="module")
def backbone(folder: Path) -> AlignedBackbone:
    found = locate_backbone(f"open_clip:{folder}")
    assert isinstance(found, AlignedBackbone)
    return found


def images(side: int, count: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_images_are_normalised_as_by_open_clip(upstream: Any, backbone: AlignedBackbone) -> None:
    transform = image_transform_v2(PreprocessCfg(**upstream.visual.preprocess_cfg), is_train=False)
    pixels = images(backbone.info.input_size)
    theirs = torch.stack([transform(Image.fromarray(p.movedim(0, -1).numpy())) for p in pixels])
    torch.testing.assert_close(backbone._preprocess(pixels, torch.device("cpu")), theirs, atol=1e-5, rtol=0)


@torch.no_grad()
def test_layers_are_the_sum_over_all_blocks(upstream: Any, backbone: AlignedBackbone) -> None:
    visual, image = upstream.visual, images(backbone.info.input_size, 1)
    mean, std = (torch.tensor(visual.preprocess_cfg[name])[:, None, None] for name in ("mean", "std"))
    tokens = intermediates(visual, (image / 255 - mean) / std)
    layers = backbone.encode_image(image).layers.flatten(2).mT
    torch.testing.assert_close(layers, sum(tokens), atol=1e-4, rtol=1e-4)


def test_text(folder: Path, upstream: Any, backbone: AlignedBackbone) -> None:
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.no_grad():
        expected = upstream.encode_text(tokenizer(TEXTS), normalize=True)
    torch.testing.assert_close(backbone.encode_text(TEXTS), expected, atol=1e-5, rtol=0)


def test_long_text_is_parted_and_not_cut(backbone: AlignedBackbone) -> None:
    first = "tumour cells in a gland. " * 40
    ends = backbone.encode_text([first + "fat.", first + "necrosis, all over the place, and nothing else."])
    assert (ends[0] - ends[1]).norm() > 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_unit_vectors(folder: Path, method: str) -> None:
    backbone = locate_backbone(f"open_clip:{folder}#{method}")
    side, stride = backbone.info.input_size, backbone.info.stride
    features = backbone.encode_image(images(side + stride, 1))
    cells = side // stride + 1
    assert features.aligned.shape == (1, backbone.info.dim, cells, cells)
    assert features.layers.shape == (1, backbone.info.layer_dim, cells, cells)
    torch.testing.assert_close(features.aligned.norm(dim=1), torch.ones(1, cells, cells))


def alone(visual: Any, token: torch.Tensor) -> torch.Tensor:
    """One token [1, 1, width] through upstream's last attention, then through all that follows, by itself."""
    if isinstance(visual, open_clip.timm_model.TimmModel):
        trunk = visual.trunk
        if trunk.attn_pool is not None:
            return visual.head(trunk.head(trunk.fc_norm(trunk.attn_pool(trunk.norm(token)))))
        block = trunk.blocks[-1]
        normed = trunk.norm(block.ls1(block.attn(block.norm1(token))))
        return visual.head(trunk.head(trunk.fc_norm(normed[:, 0])))
    if visual.attn_pool is not None:
        return visual._pool(token)[0] @ visual.proj
    block = visual.transformer.resblocks[-1]
    return visual.ln_post(block.ls_1(block.attention(block.ln_1(token))))[:, 0] @ visual.proj


def intermediates(visual: Any, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Upstream's patch tokens after each block, float [b, n, width]."""
    if isinstance(visual, open_clip.timm_model.TimmModel):
        everything = list(range(len(visual.trunk.blocks)))
        options = {"output_fmt": "NLC", "intermediates_only": True}
        return list(visual.trunk.forward_intermediates(pixels, indices=everything, **options))
    everything = list(range(len(visual.transformer.resblocks)))
    found = visual.forward_intermediates(pixels, indices=everything, output_fmt="NLC", intermediates_only=True)
    return list(found["image_intermediates"])


@torch.no_grad()
def test_value_tokens_are_those_of_images_of_one_token(upstream: Any, backbone: AlignedBackbone) -> None:
    side, visual = backbone.info.input_size, upstream.visual
    image = images(side, 1)
    statistics = (torch.tensor(visual.preprocess_cfg[name])[:, None, None] for name in ("mean", "std"))
    mean, std = statistics
    pixels = (image / 255 - mean) / std
    pools = (visual.trunk if isinstance(visual, open_clip.timm_model.TimmModel) else visual).attn_pool is not None
    tokens = intermediates(visual, pixels)[-1 if pools else -2][0]
    expected = torch.cat([alone(visual, token[None, None]) for token in tokens])
    aligned = backbone.encode_image(image).aligned[0].flatten(1).T
    torch.testing.assert_close(aligned, F.normalize(expected, dim=-1), atol=1e-5, rtol=0)


def test_pickled_weights_are_read_without_running_code(tmp_path: Path) -> None:
    safe, pickled = (save_tiny("quiltnet", tmp_path / str(i) / "m", safe=bool(i)) for i in (1, 0))
    assert (pickled / "open_clip_pytorch_model.bin").is_file()
    (pickled / "open_clip_model.safetensors").unlink(missing_ok=True)
    one, two = (locate_backbone(f"open_clip:{f}").encode_text(TEXTS) for f in (safe, pickled))
    torch.testing.assert_close(one, two)

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"state_dict": {"a": torch.ones(1)}, "more": Evil()}, pickled / "open_clip_pytorch_model.bin")
    with pytest.raises(InputError, match="hold more than tensors"):
        locate_backbone(f"open_clip:{pickled}")
    assert not (tmp_path / "ran").exists()


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_tiny("quiltnet", tmp_path / "m")
    state = load_file(folder / "open_clip_model.safetensors")
    del state["visual.ln_post.weight"]
    save_file(state, folder / "open_clip_model.safetensors")
    with pytest.raises(InputError, match=r"the weights have no tensor visual\.ln_post\.weight"):
        locate_backbone(f"open_clip:{folder}")


def test_towers_that_do_not_meet_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**CONFIGS["map"], "embed_dim": 64}  # the image tower gives 96 numbers, no projection takes them to 64
    monkeypatch.setitem(CONFIGS, "apart", config)
    with pytest.raises(InputError, match="96 numbers, its texts 64: they are not aligned"):
        locate_backbone(f"open_clip:{save_tiny('apart', tmp_path / 'm')}")


@pytest.mark.parametrize("tower", ["RN50", "convnext_base"])
def test_a_tower_without_patch_tokens_is_refused(tower: str) -> None:
    from aczerots.backbones.open_clip_towers import image_tower

    with torch.device("meta"):
        model = open_clip.create_model(tower, pretrained_text=False, device="meta")
    with pytest.raises(InputError, match="its image tower"):
        image_tower(model, "open_clip:m")


def test_a_name_needs_a_training() -> None:
    with pytest.raises(InputError, match=r"open_clip:ViT-B-32: needs a training\. Write one .*@laion2b_s34b_b79k"):
        locate_backbone("open_clip:ViT-B-32")
    with pytest.raises(InputError, match="has no such training"):
        locate_backbone("open_clip:ViT-B-32@nothing")
    with pytest.raises(InputError, match="neither a folder nor a model that open_clip knows"):
        locate_backbone("open_clip:ViT-Z")
    with pytest.raises(InputError, match="cannot be loaded: Failed to download"):
        locate_backbone("open_clip:ViT-B-32@laion2b_s34b_b79k")
    with pytest.raises(SettingsError, match="unknown method"):
        locate_backbone("open_clip:ViT-B-32#best")


def test_a_known_name_with_a_training_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = save_tiny("quiltnet", tmp_path / "m")
    facts = {"file": str(folder / "open_clip_model.safetensors"), "mean": [0.7, 0.5, 0.6], "std": [0.2, 0.25, 0.15]}
    tags = {"tiny-quiltnet": {"ours": {**facts, "quick_gelu": True}}}
    monkeypatch.setattr(open_clip.pretrained, "_PRETRAINED", tags)
    known = locate_backbone("open_clip:tiny-quiltnet@ours")
    saved = locate_backbone(f"open_clip:{folder}")
    image = images(32)
    torch.testing.assert_close(known.encode_image(image).aligned, saved.encode_image(image).aligned)
    torch.testing.assert_close(known.encode_text(TEXTS), saved.encode_text(TEXTS))
