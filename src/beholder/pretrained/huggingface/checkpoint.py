"""A folder as the Hugging Face hub holds it, to a model of ours, and a model of ours to such a folder."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from beholder.checkpoint.files import load_into, load_tensors, save_tensors
from beholder.checkpoint.rules import Rule, read_rules, write_rules
from beholder.pretrained.huggingface.families import FAMILIES
from beholder.pretrained.huggingface.family import Family, Values
from beholder.runtime.files import read_json, write_json
from beholder.types import UserError

_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Checkpoint:
    """A model of ours that came from a foreign folder."""

    kind: str
    """Its `model_type`."""
    model: nn.Module
    config: Any


def read_checkpoint(folder: Path) -> Checkpoint:
    """A model in evaluation mode, on the CPU, in the precision of its file.

    Raises UserError when the folder lacks a file, names an unknown family, or its tensors do not fit.
    """
    values = read_values(folder)
    kind, family = find_family(values, folder / "config.json")
    try:
        config = family.read(values)
    except KeyError as error:
        raise UserError(f"{folder / 'config.json'} lacks {error.args[0]}; download the folder again.") from error
    with torch.device("meta"):
        model = family.build(config)
    source, tensors = read_tensors(folder)
    fill(model, family, config, tensors, source)
    return Checkpoint(kind, model.eval().requires_grad_(False), config)


def fill(model: nn.Module, family: Family, config: Any, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Write foreign tensors into a model of that configuration; every one is used and every one of ours is written.

    The model may lie on the meta device; it then takes the tensors as they are.
    """
    rules = family.rules(config)
    if family.prefix and not any(name.startswith(family.prefix) for name in tensors):
        rules = [_without_prefix(rule, family.prefix) for rule in rules]
    ours = read_rules(tensors, rules, ignored=family.ignored, source=source)
    model.to_empty(device="cpu")
    load_into(model, ours, source)


def write_checkpoint(folder: Path, kind: str, model: nn.Module, config: Any) -> None:
    """Write `model` so that `transformers` opens it. Raises UserError for a family that is not known."""
    family = FAMILIES[kind]
    tensors = write_rules(model.state_dict(), family.rules(config))
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {"model_type": kind, **family.write(config)})
    save_tensors(folder / "model.safetensors", tensors, {"format": "pt"})


def read_values(folder: Path) -> dict[str, Any]:
    """The folder's config.json. Raises UserError when there is none, or it is none."""
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder} holds no config.json; name a folder as the Hugging Face hub has it.")
    try:
        values = read_json(path)
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}); download the folder again.") from error
    if not isinstance(values, dict) or "model_type" not in values:
        raise UserError(f"{path} names no model_type; name a folder as the Hugging Face hub has it.")
    return values


def find_family(values: Values, path: Path) -> tuple[str, Family]:
    """Raises UserError, with the nearest known names, for a family that is not known."""
    kind = values["model_type"]
    if kind not in FAMILIES:
        near = difflib.get_close_matches(str(kind), FAMILIES, n=3) or sorted(FAMILIES)
        raise UserError(f"{path} is of model_type {kind!r}, which is not known here; known are {', '.join(near)}.")
    return kind, FAMILIES[kind]


def read_tensors(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """All tensors of a folder, from one file or from shards. Raises UserError for pickles and missing files."""
    whole, index = folder / "model.safetensors", folder / _INDEX
    if whole.is_file():
        return whole, load_tensors(whole)
    if index.is_file():
        shards = sorted(set(read_json(index)["weight_map"].values()))
        return index, {name: tensor for shard in shards for name, tensor in load_tensors(folder / shard).items()}
    pickled = [path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern)]
    if pickled:
        raise UserError(
            f"{folder} holds pickled weights only ({pickled[0]}), which can run code when they are opened and are never "
            "read; load it with transformers and save it with save_pretrained, which writes model.safetensors."
        )
    raise UserError(f"{folder} holds no model.safetensors; download the folder again.")


def _without_prefix(rule: Rule, prefix: str) -> Rule:
    return Rule(rule.ours, tuple(name.removeprefix(prefix) for name in rule.theirs), rule.change)
