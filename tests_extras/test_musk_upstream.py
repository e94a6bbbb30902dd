"""MUSK against the BEiT-3 of torchscale, the library that its own package carries a copy of."""

from __future__ import annotations

import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from aczerots.backbones.aligned import AlignedBackbone
from aczerots.backbones.locate import locate_backbone
from aczerots.backbones.locator import parse_locator
from aczerots.backbones.musk import Musk, build_musk
from aczerots.backbones.tokenizers import read_pieces
from aczerots.errors import InputError

WIDTH, PATCH, GRID = 128, 8, 4
WORDS = 90


def upstream() -> torch.nn.Module:
    """MUSK as its repository composes it, tiny, with random weights."""
    stub = types.ModuleType("fairscale.nn")  # for training in parallel; imported, not used
    vars(stub).update(checkpoint_wrapper=None, wrap=None)
    sys.modules |= {"fairscale": types.ModuleType("fairscale"), "fairscale.nn": stub}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchscale imports timm by an old path
        from torchscale.architecture.config import EncoderConfig
        from torchscale.model.BEiT3 import BEiT3
    config = EncoderConfig(
        img_size=GRID * PATCH,
        patch_size=PATCH,
        vocab_size=WORDS,
        multiway=True,
        layernorm_embedding=False,
        normalize_output=True,
        no_output_layer=True,
        encoder_embed_dim=WIDTH,
        encoder_attention_heads=WIDTH // 64,
        encoder_ffn_embed_dim=4 * WIDTH,
        encoder_layers=3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Module()
        model.beit3 = BEiT3(config)
        model.language_head = torch.nn.Linear(WIDTH, WIDTH, bias=False)
        model.vision_head = torch.nn.Linear(WIDTH, WIDTH, bias=False)
        model.logit_scale = torch.nn.Parameter(torch.tensor(3.0))
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(scope="module")
def theirs() -> Any:
    return upstream()


@pytest.fixture(scope="module")
def ours(theirs: Any) -> Musk:
    return build_musk(theirs.state_dict(), "musk")


@pytest.fixture(scope="module")
def folder(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("musk")
    save_file(theirs.state_dict(), folder / "model.safetensors")
    sentences = ["tumour cells in a gland", "fat and fibrous tissue", "lymphocytes, small and dark", "necrosis"] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_prefix=str(folder / "tokenizer"), vocab_size=33, minloglevel=2
    )
    (folder / "tokenizer.model").rename(folder / "tokenizer.spm")
    return folder


@pytest.fixture(scope="module")
def backbone(folder: Path) -> AlignedBackbone:
    found = locate_backbone(f"musk:{folder}")
    assert isinstance(found, AlignedBackbone)
    return found


@torch.no_grad()
def test_pooled_image(theirs: Any, ours: Musk) -> None:
    pixels = torch.randn(2, 3, GRID * PATCH, GRID * PATCH)
    expected = theirs.vision_head(theirs.beit3(visual_tokens=pixels)["encoder_out"][:, 0])
    torch.testing.assert_close(ours.image.project(ours.image_states(pixels)[-1][:, 0]), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_text_with_and_without_pads(theirs: Any, ours: Musk) -> None:
    for length in (2, 5, 30):
        ids = torch.randint(3, WORDS, (3, length))
        padded = F.pad(ids, (0, 100 - length), value=1)
        pads = torch.arange(100).expand(3, -1) >= length
        found = theirs.beit3(textual_tokens=padded, text_padding_position=pads)["encoder_out"]
        torch.testing.assert_close(ours.sentences(ids), theirs.language_head(found[:, 0]), atol=1e-5, rtol=0)


@torch.no_grad()
def test_value_tokens_are_those_of_attention_to_oneself(theirs: Any, ours: Musk) -> None:
    pixels, encoder = torch.randn(1, 3, GRID * PATCH, GRID * PATCH), theirs.beit3.encoder
    embedded = theirs.beit3.vision_embed(pixels)
    states = encoder(src_tokens=None, token_embeddings=embedded, multiway_split_position=-1, return_all_hiddens=True)[
        "encoder_states"
    ]
    last = encoder.layers[-1]
    tokens = last.self_attn_layer_norm(states[-2][0, 1:, None])  # every token is a sequence of its own
    alone = last.self_attn(tokens, tokens, tokens)[0]
    expected = theirs.vision_head(encoder.layer_norm(alone))[:, 0]
    torch.testing.assert_close(ours.image_tower().dense("value", pixels)[0][0], expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_backbone_reads_the_published_form(ours: Musk, backbone: AlignedBackbone) -> None:
    images = torch.randint(0, 256, (2, 3, GRID * PATCH, GRID * PATCH), dtype=torch.uint8)
    tokens = ours.image_tower().dense("value", images / 127.5 - 1)[0]
    expected = F.normalize(tokens, dim=-1).mT.reshape(2, WIDTH, GRID, GRID)
    torch.testing.assert_close(backbone.encode_image(images).aligned, expected, atol=1e-5, rtol=0)
    features = backbone.encode_image(images[..., :-3])
    assert features.aligned.shape == (2, WIDTH, GRID, GRID)


@torch.no_grad()
def test_words_are_counted_as_by_xlm_roberta(folder: Path, theirs: Any, backbone: AlignedBackbone) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.spm"))
    special = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    text = "tumour cells Ω"
    pieces = ["<s>", *(processor.id_to_piece(i) for i in processor.encode(text)), "</s>"]
    assert "<unk>" in pieces
    ids = torch.tensor([[special.get(piece, processor.piece_to_id(piece) + 1) for piece in pieces]])
    pads = torch.zeros_like(ids, dtype=torch.bool)
    found = theirs.beit3(textual_tokens=ids, text_padding_position=pads)["encoder_out"][:, 0]
    expected = F.normalize(theirs.language_head(found), dim=-1)
    torch.testing.assert_close(backbone.encode_text([text]), expected, atol=1e-5, rtol=0)


def test_words_are_those_of_transformers_xlm_roberta(folder: Path, tmp_path: Path) -> None:
    from transformers import XLMRobertaTokenizer

    (tmp_path / "sentencepiece.bpe.model").write_bytes((folder / "tokenizer.spm").read_bytes())
    theirs = XLMRobertaTokenizer.from_pretrained(tmp_path)
    ours = read_pieces(folder / "tokenizer.spm", parse_locator("musk:m"), WORDS)
    for text in ("tumour cells Ω", "fat glands.", "  a  b ", "", "Necrosis (ÉÉ) ½"):
        assert ours(text) == theirs(text)["input_ids"]


def test_a_tokenizer_of_another_model_is_refused(folder: Path, theirs: Any, tmp_path: Path) -> None:
    state = theirs.state_dict()
    state["beit3.text_embed.weight"] = state["beit3.text_embed.weight"][:20].clone()
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "tokenizer.spm").write_bytes((folder / "tokenizer.spm").read_bytes())
    with pytest.raises(InputError, match="the tokenizer does not belong to the weights"):
        locate_backbone(f"musk:{tmp_path}")
