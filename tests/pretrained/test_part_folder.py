"""Folders of parts: what is written is read again, and every damage is told in one sentence."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bundles import CPU, random_bundle

import beholder
from beholder.models.codec import PRESETS, ImageCodec
from beholder.pretrained.load import load, load_own
from beholder.pretrained.part_folder import CODEC, Part, check_codec, load_part, open_part, save_part
from beholder.recipes.towers import open_towers
from beholder.tasks.search import open_finder
from beholder.tasks.shared_space import open_space
from beholder.types import UserError

CONFIG = replace(PRESETS["debug"], has_line=True)


def write(folder: Path, seed: int = 0) -> ImageCodec:
    torch.manual_seed(seed)
    codec = ImageCodec(CONFIG).eval()
    for value in codec.parameters():
        torch.nn.init.normal_(value)
    save_part(folder, CODEC, codec, CONFIG, facts={"image_size": 16}, card="# A tokenizer\n")
    return codec


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    codec = write(tmp_path / "model")
    part = load(tmp_path / "model")
    assert isinstance(part, Part) and part.kind == CODEC and part.config == CONFIG
    assert part.facts == {"image_size": 16} and part.need_codec() is part
    assert not part.model.training and not any(value.requires_grad for value in part.model.parameters())
    pixels = torch.rand(2, 3, 16, 24) * 2 - 1
    assert torch.equal(part.model.encode(pixels), codec.encode(pixels))
    assert torch.equal(part.model(pixels)[0], codec(pixels)[0])
    assert (tmp_path / "model" / "README.md").read_text() == "# A tokenizer\n"


def test_the_run_stands_for_its_model(tmp_path: Path) -> None:
    write(tmp_path / "run" / "model")
    found = [open_part(folder, CODEC, "--tokenizer") for folder in (tmp_path / "run", tmp_path / "run" / "model")]
    assert found[0].fingerprint == found[1].fingerprint
    assert isinstance(beholder.load(str(tmp_path / "run")), Part)


def test_a_codec_with_other_weights_is_another_one(tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "other", seed=1)
    one, other = load_part(tmp_path / "one"), load_part(tmp_path / "other")
    check_codec(one.fingerprint, one, tmp_path / "lvm")
    with pytest.raises(UserError, match=r"is not the tokenizer that .*lvm was trained with \(SHA-256"):
        check_codec(one.fingerprint, other, tmp_path / "lvm")


def edited(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


DAMAGES = {
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "is missing"),
    "half the weights": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:500]),
        "is not a whole safetensors file",
    ),
    "another shape": (lambda folder: edited(folder / "config.json", config={"image_size": 64}), "it does not fit its"),
    "an unknown key": (lambda folder: edited(folder / "config.json", config={"colour": 1}), "colour"),
    "a format of tomorrow": (lambda folder: edited(folder / "config.json", format=9), "format 9"),
    "a kind of tomorrow": (lambda folder: edited(folder / "config.json", kind="opera"), "'opera'"),
    "a kind that is no word": (
        lambda folder: edited(folder / "config.json", kind=["codec"]),
        "config.json cannot be used",
    ),
    "no configuration": (lambda folder: edited(folder / "config.json", config=None), "config.json cannot be used"),
    "a codebook of nothing": (
        lambda folder: edited(folder / "config.json", config={"codebook": {"levels": [1]}}),
        "config.json cannot be used",
    ),
}


@pytest.mark.parametrize("name", sorted(DAMAGES))
def test_damage_is_told_in_one_sentence(name: str, tmp_path: Path) -> None:
    write(tmp_path / "model")
    damage, told = DAMAGES[name]
    damage(tmp_path / "model")
    with pytest.raises(UserError, match=re.escape(told)) as caught:
        load(tmp_path / "model")
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_what_asks_for_answers_refuses_a_part_and_says_what_it_is(tmp_path: Path) -> None:
    write(tmp_path / "tok")
    part, told = load(tmp_path / "tok"), "is an image tokenizer, which answers nothing here; name a model"
    for ask in (
        lambda: load_own(tmp_path / "tok"),
        lambda: open_space(part, CPU),
        lambda: open_finder(part, "tok", CPU),
        lambda: beholder.classify(part, []),
        lambda: beholder.classify(tmp_path / "tok", [], labels=["a", "b"]),
        lambda: open_towers(str(tmp_path / "tok"), "embedded"),
    ):
        with pytest.raises(UserError, match=told):
            ask()


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    random_bundle().save(tmp_path / "model")
    with pytest.raises(UserError, match="name a tokenizer, as `beholder train tokenizer` makes one"):
        open_part(tmp_path / "model", CODEC, "--tokenizer")
