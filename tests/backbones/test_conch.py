"""CONCH's checkpoint: dense tokens against plain algebra, and every way in which its files can be wrong."""

from __future__ import annotations

import urllib.request
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tiny_conch import CONTEXT, GRID, LAYERS, PATCH, TOKENIZER, WIDTH, conch_state, save_tiny_conch

from aczerots.backbones.conch import TOKENIZER_URL, Conch, build_conch
from aczerots.backbones.locate import locate_backbone
from aczerots.errors import InputError

WEIGHTS = "pytorch_model.bin"


@pytest.fixture(scope="module")
def model() -> Conch:
    return build_conch(conch_state(), "conch")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_conch(tmp_path / "conch")


def norm(x: torch.Tensor, name: str) -> torch.Tensor:
    state = conch_state()
    eps = 1e-6 if "trunk" in name else 1e-5
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def linear(x: torch.Tensor, name: str) -> torch.Tensor:
    state = conch_state()
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def test_value_tokens_by_plain_algebra(model: Conch) -> None:
    pixels = torch.randn(1, 3, PATCH, PATCH)  # one patch: CLS and one token
    state = conch_state()
    with torch.no_grad():
        positions = model.visual.trunk.positions(1, 1)
    x = (pixels.flatten() @ state["visual.trunk.patch_embed.proj.weight"].flatten(1).T)[None]
    x = torch.cat([state["visual.trunk.cls_token"][0], x + state["visual.trunk.patch_embed.proj.bias"]]) + positions
    heads = WIDTH // 64
    for i in range(LAYERS):
        block = f"visual.trunk.blocks.{i}"
        q, k, v = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv").chunk(3, dim=1)
        parts = []
        for h in range(heads):
            rows = slice(64 * h, 64 * (h + 1))
            weights = (q[:, rows] @ k[:, rows].T / 8).exp()
            parts.append(weights / weights.sum(1, keepdim=True) @ v[:, rows])
        x = x + linear(torch.cat(parts, dim=1), f"{block}.attn.proj")
        h = linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")
        x = x + linear(h * (1 + torch.erf(h / 2**0.5)) / 2, f"{block}.mlp.fc2")
    token = norm(norm(x, "visual.trunk.norm")[1], "visual.attn_pool_contrast.ln_k")
    bias = state["visual.attn_pool_contrast.attn.in_proj_bias"].chunk(3)[2]
    token = state["visual.attn_pool_contrast.attn.v_proj_weight"] @ token + bias
    token = linear(token, "visual.attn_pool_contrast.attn.out_proj")
    expected = norm(token, "visual.ln_contrast") @ state["visual.proj_contrast"]
    with torch.no_grad():
        found = model.visual.tower().dense("value", pixels)[0][0, 0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_class_token_sees_one_pad_and_not_itself(model: Conch) -> None:
    """As the published model does; a text that fills the context is followed by no pad, and it sees itself."""
    other = build_conch({**conch_state(), "text.cls_emb": torch.randn(WIDTH)}, "conch")
    padded = conch_state()
    padded["text.token_embedding.weight"][0] = torch.randn(WIDTH)
    changed = build_conch(padded, "conch")
    short, full = torch.randint(3, 250, (1, 9)), torch.randint(3, 250, (1, CONTEXT - 1))
    with torch.no_grad():
        assert (changed.text(short) - model.text(short)).norm() > 1e-3
        torch.testing.assert_close(changed.text(full), model.text(full))
        assert (other.text(full) - model.text(full)).norm() > 1e-3


def test_safetensors_are_preferred_and_give_the_same(folder: Path) -> None:
    before = locate_backbone(f"conch:{folder}").encode_text(["a gland"])
    save_file(conch_state(), folder / "model.safetensors")
    (folder / WEIGHTS).write_bytes(b"not a checkpoint")
    torch.testing.assert_close(locate_backbone(f"conch:{folder}").encode_text(["a gland"]), before)


def test_weights_wrapped_by_training_code(folder: Path) -> None:
    torch.save({"state_dict": {f"module.{k}": v for k, v in conch_state().items()}, "epoch": 3}, folder / WEIGHTS)
    assert locate_backbone(f"conch:{folder}").info.dim == 32


def without(name: str) -> dict[str, torch.Tensor]:
    return {k: v for k, v in conch_state().items() if k != name}


BLOCK = "visual.trunk.blocks.1."


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (without("visual.proj_contrast"), r"has no tensor visual\.proj_contrast\. Check that the kind"),
        (without(f"{BLOCK}norm1.bias"), r"has no tensor visual\.trunk\.blocks\.1\.norm1\.bias"),
        ({**conch_state(), "text.cls_emb": torch.zeros(3)}, r"text\.cls_emb has the shape \(3,\), not \(128,\)"),
        ({**conch_state(), f"{BLOCK}ls1.gamma": torch.ones(WIDTH)}, r"fits no such model: .*blocks\.1\.ls1\.gamma"),
        ({"other": torch.ones(2)}, "has no tensor visual.trunk.patch_embed.proj.weight"),
        ({"step": 3}, "holds no named tensors"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_told_in_a_sentence(folder: Path, state: dict[str, Any], says: str) -> None:
    torch.save(state, folder / WEIGHTS)
    with pytest.raises(InputError, match=says):
        locate_backbone(f"conch:{folder}")


def test_code_in_a_checkpoint_does_not_run(folder: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({**conch_state(), "more": Evil()}, folder / WEIGHTS)
    with pytest.raises(InputError, match=r"pytorch_model\.bin holds more than tensors"):
        locate_backbone(f"conch:{folder}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"<html>accept the licence</html>", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_told_in_a_sentence(folder: Path, content: bytes) -> None:
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(InputError, match=r"pytorch_model\.bin"):
        locate_backbone(f"conch:{folder}")


def test_missing_files_are_named(folder: Path) -> None:
    (folder / TOKENIZER).unlink()
    with pytest.raises(InputError, match=rf"has no tokenizer\. Put {TOKENIZER_URL} beside the weights"):
        locate_backbone(f"conch:{folder}")
    (folder / TOKENIZER).write_text("{}")
    with pytest.raises(InputError, match="holds no tokenizer"):
        locate_backbone(f"conch:{folder}")
    (folder / WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"has no weights\. Expected model\.safetensors or pytorch_model\.bin"):
        locate_backbone(f"conch:{folder}")


def test_the_tokenizer_of_a_hub_id_is_fetched_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (folder / TOKENIZER).read_bytes()
    (folder / TOKENIZER).unlink()
    asked: list[str] = []

    def answer(url: str, timeout: float) -> BytesIO:
        asked.append(url)
        return BytesIO(content)

    monkeypatch.setenv("ACZEROTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("aczerots.backbones.conch.find_model", lambda *_: (folder, "abc", folder / WEIGHTS))
    monkeypatch.setattr(urllib.request, "urlopen", answer)
    for _ in range(2):
        assert locate_backbone("conch:hf-hub:MahmoodLab/CONCH").info.revision == "abc"
    assert asked == [TOKENIZER_URL]


def test_features_cover_larger_images_by_windows(folder: Path) -> None:
    backbone = locate_backbone(f"conch:{folder}")
    side = 2 * GRID * PATCH
    features = backbone.encode_image(torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8))
    assert features.aligned.shape == (1, 32, 2 * GRID, 2 * GRID)
