"""timm: helpers saved by timm's own code for the hub, against timm's own forward pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models import save_for_hf
from tiny_conch import save_tiny_conch

from aczerots.backbones.locate import locate_backbone, locate_helper
from aczerots.backbones.options import BackboneOptions
from aczerots.errors import InputError, SettingsError

MODELS: dict[str, dict[str, Any]] = {
    "uni": {"model_name": "test_vit", "init_values": 1e-5},
    "registers": {"model_name": "test_vit2"},
    "virchow": {
        "model_name": "test_vit",
        "reg_tokens": 4,
        "mlp_layer": timm.layers.SwiGLUPacked,
        "no_embed_class": True,
    },
}
"""In small: UNI (layer scale), registers and no class token (DINOv2 kin), Virchow 2 and UNI 2 (packed SwiGLU)."""
STATISTICS = {"mean": [0.7, 0.5, 0.6], "std": [0.2, 0.25, 0.15]}


def save_tiny(name: str, folder: Path, **more: Any) -> tuple[Path, Any]:
    """(folder, model): one of ``MODELS`` with random weights, as timm writes it for the hub."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(**MODELS[name], num_classes=0, **more).eval()
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.pretrained_cfg = {**model.pretrained_cfg, **STATISTICS}
    named = {"mlp_layer": "SwiGLUPacked"} if "mlp_layer" in MODELS[name] else None
    save_for_hf(model, folder, model_args=named, safe_serialization=True)
    return folder, model


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_patch_tokens(name: str, tmp_path: Path) -> None:
    folder, theirs = save_tiny(name, tmp_path / name, dynamic_img_size=True)
    helper = locate_helper(f"timm:{folder}")
    images = torch.randint(0, 256, (2, 3, 160, 96), dtype=torch.uint8)
    mean, std = (torch.tensor(STATISTICS[k])[:, None, None] for k in ("mean", "std"))
    tokens = theirs.forward_features((images / 255 - mean) / std)[:, theirs.num_prefix_tokens :]
    expected = tokens.mT.reshape(2, -1, 10, 6)
    torch.testing.assert_close(helper.encode_patches(images), expected, atol=1e-5, rtol=0)
    assert (helper.info.stride, helper.info.dim) == (16, theirs.num_features)


def test_helps_a_backbone(tmp_path: Path) -> None:
    folder, _ = save_tiny("uni", tmp_path / "uni")
    conch = save_tiny_conch(tmp_path / "conch")
    options = BackboneOptions(refine_with=f"timm:{folder}")
    refined = locate_backbone(f"conch:{conch}", options=options)
    features = refined.encode_image(torch.randint(0, 256, (1, 3, 64, 48), dtype=torch.uint8))
    assert features.aligned.shape[2:] == (4, 3)
    assert refined.info.hash != locate_backbone(f"conch:{conch}").info.hash


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    folder, _ = save_tiny("uni", tmp_path / "uni")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_args": {}}))
    with pytest.raises(InputError, match=r"has no place for blocks\.0\.ls1\.gamma\. Put the arguments"):
        locate_helper(f"timm:{folder}")
    (folder / "config.json").write_text(json.dumps({**config, "architecture": "resnet10t"}))
    with pytest.raises(InputError, match="resnet10t has no patch tokens"):
        locate_helper(f"timm:{folder}")
    (folder / "config.json").write_text("[]")
    with pytest.raises(InputError, match="names no architecture"):
        locate_helper(f"timm:{folder}")
    with pytest.raises(InputError, match="neither a folder nor a model that timm knows"):
        locate_helper("timm:vit_of_nobody")
    with pytest.raises(SettingsError, match="no dense method"):
        locate_helper(f"timm:{folder}#qq")
    with pytest.raises(SettingsError, match=r"models of timm have no text\. Use it as a helper"):
        locate_backbone(f"timm:{folder}")


def test_offline_names_are_told() -> None:
    with pytest.raises(InputError, match=r"timm:vit_base_patch14_dinov2\.lvd142m: cannot be loaded"):
        locate_helper("timm:vit_base_patch14_dinov2.lvd142m")
