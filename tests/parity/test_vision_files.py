"""Vision checkpoints as they were published: older spellings are read, what ours has not is refused aloud."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from parity.reference import save
from parity.vision import CASES, NATIVE, draw, make_pair, say_ours, say_theirs
from torch import Tensor

from beholder.checkpoint.files import load_tensors, save_tensors
from beholder.models.clip import CLIPConfig, TextTowerConfig
from beholder.models.vit import ViTConfig
from beholder.pretrained.huggingface.checkpoint import read_checkpoint, write_checkpoint
from beholder.pretrained.huggingface.families import FAMILIES
from beholder.types import UserError


def respell(folder: Path, spell: Callable[[str], str], more: dict[str, Tensor] | None = None) -> None:
    path = folder / "model.safetensors"
    save_tensors(path, {spell(name): value for name, value in load_tensors(path).items()} | (more or {}))


@pytest.mark.parametrize(
    ("name", "spell"),
    [
        ("mae", lambda name: name.replace("decoder_encoder.layer.", "decoder_layers.")),  # as published
        ("dinov3", lambda name: name.replace("layer.", "model.layer.", 1) if name.startswith("layer.") else name),
        ("clip image", lambda name: f"vision_model.{name}"),
        ("clip text", lambda name: f"text_model.{name}"),
        ("siglip image", lambda name: f"vision_model.{name}"),
        ("vit", lambda name: f"vit.{name}"),
        ("dinov2 classifier", lambda name: name),
    ],
)
@torch.no_grad()
def test_older_spellings_are_read(name: str, spell: Callable[[str], str], tmp_path: Path) -> None:
    pair, inputs = make_pair(CASES[name], tmp_path), draw(CASES[name], NATIVE)
    before = load_tensors(tmp_path / "model.safetensors").keys()
    respell(tmp_path, spell)
    assert name == "dinov2 classifier" or before != load_tensors(tmp_path / "model.safetensors").keys()
    found, wanted = say_ours(read_checkpoint(tmp_path).model, inputs), say_theirs(pair.reference, inputs)
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5)


def test_numbers_in_order_are_no_weights(tmp_path: Path) -> None:
    make_pair(CASES["clip"], tmp_path)
    more = {f"{one}_model.embeddings.position_ids": torch.arange(5)[None] for one in ("text", "vision")}
    respell(tmp_path, lambda name: name, more)
    assert read_checkpoint(tmp_path).kind == "clip"


def test_the_settings_of_old_clip_folders_are_read_from_their_copies() -> None:
    values: dict[str, Any] = {"text_config": {"hidden_size": 99}, "text_config_dict": {"hidden_size": 768}}
    config = FAMILIES["clip"].read({**values, "vision_config": {}, "vision_config_dict": None})
    assert isinstance(config, CLIPConfig)
    assert config.text.trunk.width == 768 and config.image.vit.trunk.width == 768
    assert config.text.end_token == 49407 and config.text.projection_width == 512


def test_an_end_token_of_2_means_the_largest() -> None:
    config = FAMILIES["clip_text_model"].read({"eos_token_id": 2})
    assert isinstance(config, TextTowerConfig) and config.end_token is None
    assert FAMILIES["clip_text_model"].write(config)["eos_token_id"] == 2


def test_the_names_of_classes_go_there_and_back(tmp_path: Path) -> None:
    import transformers

    names = [f"kind {index}" for index in range(11)]
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=8, patch_size=4,
        id2label=dict(enumerate(names)), label2id={name: index for index, name in enumerate(names)},
    )  # fmt: skip
    save(transformers.ViTForImageClassification(config), tmp_path)
    found = read_checkpoint(tmp_path)
    assert isinstance(found.config, ViTConfig) and list(found.config.classes) == names
    write_checkpoint(tmp_path / "written", found.kind, found.model, found.config)
    again = transformers.AutoConfig.from_pretrained(tmp_path / "written")
    assert again.id2label == dict(enumerate(names)) and (again.label2id or {})["kind 10"] == 10


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("vit", {"image_size": [224, 448]}, r"image_size=\[224, 448\].* only squares are"),
        ("vit", {"num_channels": 1}, "num_channels=1.* only 3 is"),
        ("vit", {"pooler_act": "relu"}, "pooler_act='relu'.* only 'tanh' is"),
        ("dinov2", {"hidden_act": "mish"}, "hidden_act='mish'; known are"),
        ("clip_text_model", {"eos_token_id": [1, 2]}, r"eos_token_id=\[1, 2\].* only a single number is"),
        ("dinov3_vit", {"rope_parameters": {"rope_type": "yarn"}}, "rope_type='yarn'.* only 'default' is"),
    ],
)
def test_what_ours_has_not_is_refused(kind: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FAMILIES[kind].read(values)


def test_a_network_that_dinov2_cannot_say_is_not_written() -> None:
    values = FAMILIES["dinov2"].read({"hidden_size": 24, "num_attention_heads": 3, "mlp_ratio": 2.5})
    with pytest.raises(UserError, match="feed-forward network of 60 beside a width of 24"):
        FAMILIES["dinov2"].write(values)


def test_no_tensor_is_dropped_in_silence(tmp_path: Path) -> None:
    """A decoder for masked images that ours does not have is named, as is a tower that is missing."""
    import transformers

    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=8, patch_size=4,
        encoder_stride=4,
    )  # fmt: skip
    save(transformers.ViTForMaskedImageModeling(config), tmp_path / "masked")
    with pytest.raises(UserError, match=r"has unknown decoder\.0\.bias, decoder\.0\.weight"):
        read_checkpoint(tmp_path / "masked")
    make_pair(CASES["siglip"], tmp_path / "siglip")
    path = tmp_path / "siglip" / "model.safetensors"
    kept = {name: value for name, value in load_tensors(path).items() if not name.startswith("text_model")}
    save_tensors(path, kept)
    with pytest.raises(UserError, match=r"lacks text_model\."):
        read_checkpoint(tmp_path / "siglip")


def test_a_file_decides_what_a_configuration_leaves_open(tmp_path: Path) -> None:
    make_pair(CASES["vit"], tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    values.pop("architectures")
    (tmp_path / "config.json").write_text(json.dumps(values))
    config = read_checkpoint(tmp_path).config
    assert isinstance(config, ViTConfig) and config.pooler_width == 11 and not config.classes
