"""A folder as the Hugging Face hub holds it, to a model of ours, and a model of ours to such a folder."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from beholder.checkpoint.files import load_into, load_tensors, save_tensors
from beholder.checkpoint.rename import rename
from beholder.checkpoint.rules import Rule, read_rules, write_rules
from beholder.pretrained.huggingface.families import FAMILIES
from beholder.pretrained.huggingface.family import Family, Values
from beholder.runtime.files import read_json, write_json
from beholder.types import UserError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
"""Which of several files holds which tensor."""


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
    with _naming(folder / "config.json"):
        config = family.read({**values, **_told_apart(folder / "generation_config.json", family)})
    source, tensors = read_tensors(folder)
    config = settle(family, config, tensors)
    with _naming(folder / "config.json"), torch.device("meta"):
        model = family.build(config)
    fill(model, family, config, tensors, source)
    return Checkpoint(kind, model.eval().requires_grad_(False), config)


def settle(family: Family, config: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The configuration, put right by what lies in the file."""
    return config if family.settle is None else family.settle(config, rename(tensors, family.older))


def fill(model: nn.Module, family: Family, config: Any, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Write foreign tensors into a model of that configuration; every one is used and every one of ours is written.

    The model may lie on the meta device; it then takes the tensors as they are.
    """
    rules, tensors = family.rules(config), rename(tensors, family.older)
    if family.prefix and not any(name.startswith(family.prefix) for name in tensors):
        rules = [_without_prefix(rule, family.prefix) for rule in rules]
    ours = read_rules(tensors, rules, ignored=family.ignored, source=source)
    model.to(precision_of(ours)).to_empty(device="cpu")
    names_there = {name: " with ".join(rule.theirs) for rule in rules for name in rule.ours}
    load_into(model, ours, source, names_there)


def precision_of(tensors: Mapping[str, Tensor]) -> torch.dtype:
    """That of most numbers: a half-precision file may hold a few norms in single precision, and a model has one."""
    sizes: Counter[torch.dtype] = Counter()
    for tensor in tensors.values():
        if tensor.is_floating_point():
            sizes[tensor.dtype] += tensor.numel()
    return max(sizes, key=sizes.__getitem__, default=torch.float32)


def write_checkpoint(folder: Path, kind: str, model: nn.Module, config: Any, values: Values | None = None) -> None:
    """Write `model` so that `transformers` opens it. `values` are of a config.json that it may have had; those that say
    nothing of its shape (numbers of special tokens, names of classes) are kept."""
    family = FAMILIES[kind]
    tensors = write_rules(model.state_dict(), family.rules(config))
    kept = {key: value for key, value in (values or {}).items() if key not in ("torch_dtype", "auto_map")}
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        **kept,
        "model_type": kind,
        **family.write(config),
        "dtype": str(precision_of(tensors)).removeprefix("torch."),
    }
    write_json(folder / "config.json", described)
    save_tensors(folder / WEIGHTS, tensors, {"format": "pt"})


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


def _told_apart(path: Path, family: Family) -> dict[str, Any]:
    """What a generation_config.json, where there is one, tells of how to write."""
    if not family.told_apart or not path.is_file():
        return {}
    try:
        values = read_json(path)
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}); download the folder again.") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is no group of settings; download the folder again.")
    return {key: values[key] for key in family.told_apart if values.get(key) is not None}


def find_family(values: Values, path: Path) -> tuple[str, Family]:
    """Raises UserError, with the nearest known names, for a family that is not known."""
    kind = values["model_type"]
    if kind not in FAMILIES:
        near = difflib.get_close_matches(str(kind), FAMILIES, n=3) or sorted(FAMILIES)
        raise UserError(f"{path} is of model_type {kind!r}, which is not known here; known are {', '.join(near)}.")
    return kind, FAMILIES[kind]


def read_tensors(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """All tensors of a folder, from one file or from shards. Raises UserError for pickles and missing files."""
    whole, index = folder / WEIGHTS, folder / INDEX
    if whole.is_file():
        return whole, load_tensors(whole)
    if index.is_file():
        parts = [load_tensors(folder / shard) for shard in shards_of(index)]
        return index, {name: tensor for part in parts for name, tensor in part.items()}
    pickled = [path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern)]
    if pickled:
        raise UserError(
            f"{folder} holds pickled weights only ({pickled[0]}), which can run code when opened and are never "
            "read; load it with transformers and save it with save_pretrained, which writes model.safetensors."
        )
    raise UserError(f"{folder} holds no model.safetensors; download the folder again.")


def shards_of(index: Path) -> list[str]:
    """Names of the files that hold the tensors. Raises UserError for an index that is none, or leads elsewhere."""
    try:
        shards = sorted(set(read_json(index)["weight_map"].values()))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"{index} is no index of tensors ({error}); download the folder again.") from error
    for shard in shards:
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise UserError(f"{index} names {shard!r}, which is no safetensors file beside it; download it again.")
    return shards


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Tell whatever is wrong with a configuration as one sentence with the file's name; building a model from wrong
    numbers raises whatever torch trips over."""
    try:
        yield
    except UserError as error:
        if str(path) in str(error):
            raise
        raise UserError(f"{path.parent}/{error}" if str(error).startswith(path.name) else f"{path}: {error}") from error
    except KeyError as error:
        raise UserError(f"{path} lacks {error.args[0]}; download the folder again.") from error
    except (TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].removesuffix(".")
        raise UserError(f"{path} cannot be used ({reason}); download the folder again.") from error


def _without_prefix(rule: Rule, prefix: str) -> Rule:
    return Rule(rule.ours, tuple(name.removeprefix(prefix) for name in rule.theirs), rule.change)
