"""Code of a repository runs only if the user says so; models known to be unfit are refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_clip import save_tiny_clip

from aczerots.backbones.locate import locate_backbone
from aczerots.backbones.locator import parse_locator
from aczerots.backbones.options import BackboneOptions
from aczerots.backbones.remote import family_of
from aczerots.errors import InputError

CODE = """
from pathlib import Path
from transformers import CLIPConfig, CLIPModel

Path({mark!r}).touch()

class OwnConfig(CLIPConfig):
    model_type = "own_clip"

class OwnModel(CLIPModel):
    config_class = OwnConfig
"""
TRUST = BackboneOptions(trust_remote_code=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CLIP that says it needs a file of its own; the file leaves a mark when it is run."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    path = save_tiny_clip(tmp_path / "own")
    shutil.copytree(path, tmp_path / "plain")
    (path / "own.py").write_text(CODE.format(mark=str(tmp_path / "mark")))
    change(path, model_type="own_clip", auto_map={"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"})
    return path


def change(folder: Path, **facts: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_code_is_not_run_unless_it_is_trusted(folder, tmp_path):
    with pytest.raises(InputError, match=r"code from its own repository, which is not run.*--trust-remote-code"):
        locate_backbone(f"hf:{folder}")
    assert not (tmp_path / "mark").exists()
    pixels = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    trusted = locate_backbone(f"hf:{folder}", options=TRUST)
    assert (tmp_path / "mark").exists()
    plain = locate_backbone(f"hf:{tmp_path / 'plain'}")
    torch.testing.assert_close(trusted.encode_image(pixels).aligned, plain.encode_image(pixels).aligned)
    assert torch.equal(trusted.encode_text(["fat"]), plain.encode_text(["fat"]))


def test_code_is_part_of_the_revision(folder):
    before = locate_backbone(f"hf:{folder}", options=TRUST).info.hash
    with (folder / "own.py").open("a") as file:
        file.write("# changed\n")
    assert locate_backbone(f"hf:{folder}", options=TRUST).info.hash != before


def test_code_elsewhere_is_refused(folder):
    change(folder, auto_map={"AutoModel": "someone/else--own.OwnModel"})
    with pytest.raises(InputError, match="not in its own repository"):
        locate_backbone(f"hf:{folder}", options=TRUST)


def test_a_model_of_unknown_parts_is_refused():
    with pytest.raises(InputError, match=r"is a Linear, whose parts.*must build on CLIPModel or SiglipModel"):
        family_of(torch.nn.Linear(1, 1), parse_locator("hf:someone/else"))


def test_what_the_code_fails_with_is_one_clear_error(folder):
    (folder / "own.py").write_text("import a_library_that_nobody_has\n")
    with pytest.raises(InputError, match="a_library_that_nobody_has") as caught:
        locate_backbone(f"hf:{folder}", options=TRUST)
    assert "\n" not in str(caught.value)


def test_trust_changes_nothing_where_no_code_is_needed(folder, tmp_path):
    plain = f"hf:{tmp_path / 'plain'}"
    assert locate_backbone(plain, options=TRUST).info == locate_backbone(plain).info


def test_keep_has_a_loader_of_its_own(folder):
    change(folder, model_type="keep")
    with pytest.raises(InputError, match="Use keep:"):
        locate_backbone(f"hf:{folder}")


@pytest.mark.parametrize(
    ("locator", "message"),
    [
        ("conch:MahmoodLab/conchv1_5", "not aligned with text: no text tower was trained with its tile features"),
        ("hf:MahmoodLab/TITAN", "aligns text with whole slides"),
        ("hf:MahmoodLab/UNI", "vision-only.*--refine-with timm:MahmoodLab/UNI"),
        ("open_clip:hf-hub:paige-ai/Virchow2", "--refine-with timm:paige-ai/Virchow2"),
    ],
)
def test_what_cannot_be_a_backbone_is_refused_by_name(locator, message):
    with pytest.raises(InputError, match=message):
        locate_backbone(locator)
