"""The embedded backbone: weights at the border, measurements by hand-worked images, words, and what it can tell."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tools.train_embedded.attributes import ATTRIBUTES, attribute_matrix
from tools.train_embedded.brush import Brush
from tools.train_embedded.captions import WORDS
from tools.train_embedded.concepts import KINDS, NEAR, relations
from tools.train_embedded.lexicon import Lexicon, attribute_space
from tools.train_embedded.profiles import profiles
from tools.train_embedded.synthetic import PAINTERS

from aczerots.backbones.embedded import EmbeddedBackbone, load_embedded
from aczerots.backbones.embedded.backbone import FORMAT
from aczerots.backbones.embedded.morphology import measure, measurement_names
from aczerots.backbones.embedded.tokenizer import features, words
from aczerots.datasets.phantom.optics import scan
from aczerots.errors import InputError

WEIGHTS = Path(__file__).parents[2] / "src/aczerots/backbones/embedded/weights.safetensors"


@pytest.fixture(scope="module")
def backbone() -> EmbeddedBackbone:
    return load_embedded()


def drawn(painter: str, seed: int = 3) -> torch.Tensor:
    """A pure drawn tile, uint8 [1, 3, 224, 224]."""
    rng = np.random.default_rng(seed)
    pixels = scan(rng, PAINTERS[painter][0](Brush(rng, (224, 224), 1 / 0.6)))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


# weights


def test_file_fits_the_package():
    assert WEIGHTS.stat().st_size <= 16e6


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        EmbeddedBackbone(path)
    assert str(path) in str(caught.value)
    return caught.value.what


def test_missing_weights(tmp_path):
    assert "cannot be read" in refused(tmp_path / "none.safetensors")


def test_not_safetensors(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"PK\x03\x04 this is no safetensors file at all")
    assert "cannot be read" in refused(path)


def test_truncated_weights(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(WEIGHTS.read_bytes()[:-1000])
    assert "cannot be read" in refused(path)


def test_other_version(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(load_file(WEIGHTS), path, metadata={"format": "aczerots-embedded-0", "logit_scale": "1"})
    assert "aczerots-embedded-0" in refused(path)


@pytest.mark.parametrize("damage", ["drop", "shape", "nan", "scale"])
def test_weights_that_do_not_fit(tmp_path, damage):
    path, state, scale = tmp_path / "w.safetensors", load_file(WEIGHTS), "20"
    if damage == "drop":
        state.pop("image.mix.weight")
    elif damage == "shape":
        state["image.mix.weight"] = torch.zeros(2, 2)
    elif damage == "nan":
        state["text.head.bias"][0] = float("nan")
    else:
        scale = "much"
    save_file(state, path, metadata={"format": FORMAT, "logit_scale": scale})
    assert "do not fit" in refused(path)


def test_revision_is_of_the_content(tmp_path, backbone):
    path, state = tmp_path / "w.safetensors", load_file(WEIGHTS)
    state["text.head.bias"] += 0.5
    save_file(state, path, metadata={"format": FORMAT, "logit_scale": "20"})
    assert EmbeddedBackbone(path).info.hash != backbone.info.hash


# measurements


def named(images: torch.Tensor) -> dict[str, float]:
    """Mean of every measurement over the image."""
    values = measure(images).mean((0, 2, 3))
    return dict(zip(measurement_names(), values.tolist(), strict=True))


def test_every_measurement_has_one_name():
    names = measurement_names()
    assert len(set(names)) == len(names) == measure(drawn("glass")).shape[1]


def test_attributes_are_said_and_measured():
    assert set(WORDS) == set(ATTRIBUTES)
    assert attribute_matrix().shape == (len(measurement_names()), len(ATTRIBUTES))
    assert (attribute_matrix().abs().sum(0) > 0).all()


def test_stripes_are_coherent_and_noise_is_not():
    rng = np.random.default_rng(0)
    x = np.arange(128)
    stripes = np.broadcast_to(170 + 60 * np.sin(x / 4)[None, :], (128, 128))
    grain = np.kron(rng.uniform(110, 230, (32, 32)), np.ones((4, 4)))
    both = [torch.from_numpy(np.stack([a] * 3).astype(np.uint8))[None] for a in (stripes, grain)]
    coherent, random_ = (named(image)["coherence_haem_1@72"] for image in both)
    assert coherent > 0.9
    assert random_ < 0.5


def test_dark_discs_are_nuclei_and_are_counted():
    y, x = np.mgrid[:128, :128]

    def discs(pitch: int) -> torch.Tensor:
        near = (np.minimum(x % pitch, pitch - x % pitch) ** 2 + np.minimum(y % pitch, pitch - y % pitch) ** 2) < 16
        rgb = np.where(near[..., None], (70, 40, 120), (235, 170, 200)).astype(np.uint8)
        return torch.from_numpy(rgb).permute(2, 0, 1)[None]

    many, few = named(discs(16)), named(discs(32))
    assert many["nucleus@72"] > 1.5 * few["nucleus@72"]
    assert many["count@72"] ** 2 == pytest.approx(4 * few["count@72"] ** 2, rel=0.25)


def test_white_share():
    half = torch.full((1, 3, 64, 128), 250, dtype=torch.uint8)
    half[..., 64:] = torch.tensor([180, 90, 150], dtype=torch.uint8)[:, None, None]
    found = measure(half)[0, measurement_names().index("white@24")]
    assert found[:, :6].min() > 0.9
    assert found[:, 10:].max() < 0.1


# words


def test_negation_marks_its_scope():
    assert words("Pink fibers without any nuclei, dense") == ["pink", "fiber", "!any", "!nuclei", "dense"]
    assert words("no glands but mucin") == ["!gland", "mucin"]


def test_spelling_does_not_matter(backbone):
    a, b = backbone.encode_text(["haemorrhage in the tumour stroma", "hemorrhage in the tumor stroma"])
    assert torch.equal(a, b)


def test_any_sentence_has_an_embedding(backbone):
    assert features("") == [0]
    out = backbone.encode_text(["", "zzyzx qwrt", "!!!", "Грудь"])
    torch.testing.assert_close(out.norm(dim=1), torch.ones(4))


def test_typing_errors_degrade_gently(backbone):
    names = ["adipose tissue", "lymphocytes", "smooth muscle", "normal colonic gland"]
    wrong = ["adipos tissues", "lymphocyt", "smoth muscle", "normal colonic glnd"]
    near = backbone.encode_text(wrong) @ backbone.encode_text(names).T
    assert near.argmax(1).tolist() == [0, 1, 2, 3]


def test_no_text_gives_no_rows(backbone):
    assert backbone.encode_text([]).shape == (0, backbone.info.dim)


def test_table_is_sound():
    table = profiles()
    names = [n.lower() for p in table for n in p.names]
    assert all(set(p.levels) <= set(ATTRIBUTES) and p.levels for p in table)
    assert all(abs(level) <= 3 for p in table for level in p.levels.values())
    first = {p.names[0] for p in table}
    assert {n for k, kinds in KINDS.items() for n in (k, *kinds)} | {n for g in NEAR for n in g} <= first
    assert {n for _, ns in PAINTERS.values() for n in ns} <= set(names)


def test_relations_are_symmetric_and_shares_sum_to_one():
    spread, related = relations(["stroma", "dermis", "blood"])
    torch.testing.assert_close(spread.sum(1), torch.ones(3))
    assert spread[1, 0] == pytest.approx(1 / 3)
    assert related.tolist() == [[False, True, False], [True, False, False], [False, False, False]]


def test_lift_ranks_as_the_linear_discriminant():
    """Cosine in the lifted space orders classes as x'Wt - 0.35 t'Wt does (0.35 instead of Fisher's 1/2)."""
    torch.manual_seed(0)
    cells, group = torch.randn(400, len(measurement_names())), torch.arange(400) % 3
    center, scale = cells.mean(0), cells.std(0)
    z = ((cells - center) / scale).clamp(-3, 3)
    space = attribute_space(z, group, center, scale, attribute_matrix())
    levels = torch.randn(6, len(ATTRIBUTES)).round()
    weight, bias = space.reading()
    z = z[:50]
    cosine = torch.nn.functional.normalize(z @ weight.T + bias, dim=1) @ space.lift(levels).T
    values = (z @ space.matrix - space.mean) / space.deviation
    inverse = space.factor @ space.factor.T
    direct = values @ inverse @ levels.T - 0.35 * (levels @ inverse * levels).sum(1)
    assert torch.equal(cosine.argsort(1), direct.argsort(1))
    torch.testing.assert_close(space.lift(levels).norm(dim=1), torch.ones(6))


def test_sentences_are_seeded():
    lexicon = Lexicon()
    first = lexicon.draw(20, random.Random(1))
    again = lexicon.draw(20, random.Random(1))
    assert first[0] == again[0]
    assert torch.equal(first[1], again[1])


# what it can tell


def test_drawn_tissues_answer_to_their_names(backbone):
    names = {"fat": "adipose tissue", "lymphoid": "lymphocytes", "muscle": "smooth muscle", "blood": "red blood cells"}
    names |= {"tumor": "carcinoma", "glass": "background"}
    texts = backbone.encode_text(list(names.values()))
    hits = 0
    for i, painter in enumerate(names):
        for seed in (3, 4):
            mean = backbone.encode_image(drawn(painter, seed)).aligned.mean((0, 2, 3))
            hits += int((texts @ mean).argmax() == i)
    assert hits >= 10


@pytest.mark.slow
@pytest.mark.data
def test_real_lung_beats_chance(shared_data, backbone):
    """Pool images of luad, names only; a third of the cells would be right by chance."""
    texts = backbone.encode_text(["tumor epithelium", "tumor-associated stroma", "normal lung tissue"])
    right, total = torch.zeros(3), torch.zeros(3)
    for file in sorted((shared_data / "luad/images").glob("t*.png"))[:12]:
        pixels = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)[None]
        truth = np.array(Image.open(shared_data / "luad/masks" / file.name))
        answer = torch.einsum("dhw,cd->chw", backbone.encode_image(pixels).aligned[0], texts).argmax(0)
        cells = answer.repeat_interleave(16, 0).repeat_interleave(16, 1)[: truth.shape[0], : truth.shape[1]].numpy()
        for c in range(3):
            right[c] += int(((truth == c) & (cells == c)).sum())
            total[c] += int((truth == c).sum())
    assert (right / total.clamp_min(1))[:2].mean() > 0.5


@pytest.mark.slow
def test_using_the_backbone_does_not_load_its_training():
    """The training folder alone may use the phantom and the descriptions, which stand above backbones."""
    code = (
        "import sys; from aczerots.backbones.embedded import load_embedded; load_embedded().encode_text(['fat']);"
        "print([m for m in sys.modules if m.startswith(('aczerots.datasets', 'aczerots.text', 'scipy'))"
        " or '.embedded.train' in m])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
