"""The model folder of maps between two towers, and back.

config.json  model.safetensors  preprocess.json  README.md  tokenizer.json (where texts are not read by MiniLM)

Towers as they came out of packages are named, not stored; any other, also one that was tuned, is in the folder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from beholder.checkpoint.files import load_into, load_tensors, save_tensors
from beholder.config import from_json, to_json
from beholder.models.bert import BERT, BERTConfig
from beholder.models.families import BackboneSpec, build, specify
from beholder.models.joined_maps import JoinedMaps, JoinedMapsConfig
from beholder.models.pairs import (
    FrozenImages,
    FrozenTexts,
    LockedPair,
    Maps,
    NamedClasses,
    NamedClassesConfig,
    PairMaps,
    PairMapsConfig,
)
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.huggingface.words import read_words, write_words
from beholder.pretrained.towers import Towers, embedded_images, embedded_texts
from beholder.runtime.files import read_json, write_json, write_text
from beholder.tokenizers.pixels import PixelConfig
from beholder.tokenizers.text import Words
from beholder.types import UserError

KIND = "pairs"
FORMAT = 1
_STEP = ".step"
"""Ends the name of what a row of bytes is multiplied with."""


@dataclass(frozen=True)
class PairFolder:
    """What stands in config.json."""

    maps: PairMapsConfig | JoinedMapsConfig
    image: BackboneSpec | None = None
    """None: EfficientNet-Lite0 from its package."""
    text: BERTConfig | None = None
    """None: MiniLM from its package."""
    names: NamedClassesConfig | None = None
    """Names of classes whose points are stored, where the image's features end in one."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What is known beside the weights: data, seeds, figures, versions. JSON values."""
    kind: str = KIND
    format: int = FORMAT


def save_pair_folder(
    folder: Path,
    towers: Towers,
    maps: Maps,
    *,
    facts: dict[str, Any],
    card: str,
    is_small: bool = False,
) -> None:
    """Write the folder; the weights come last. `is_small`: matrices of maps and names as bytes, with a step for each
    row; points move by less than a hundredth."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"maps.{name}": value for name, value in maps.state_dict().items()}
    image, text, names = None, None, towers.images.names
    if names is not None:
        tensors["names.points"] = names.points
    if is_small:
        tensors = {part: value for name, one in tensors.items() for part, value in _as_bytes(name, one).items()}
    if not towers.has_embedded_images:
        backbone = towers.images.backbone
        image = specify(backbone)
        tensors |= {f"image.{name}": value for name, value in backbone.state_dict().items()}
    if not towers.has_embedded_texts:
        reader = towers.texts.reader
        text = reader.config
        tensors |= {f"text.{name}": value for name, value in reader.state_dict().items()}
        write_words(folder, towers.words)
    write_json(folder / "preprocess.json", to_json(towers.pixels))
    write_text(folder / "README.md", card)
    described = PairFolder(maps.config, image, text, None if names is None else names.config, facts)
    write_json(folder / "config.json", to_json(described))
    save_tensors(folder / "model.safetensors", tensors, {"format": "pt"})


def load_pair_folder(folder: Path) -> Foreign:
    """A `LockedPair` in evaluation mode, on the CPU. Raises UserError that names what is wrong with the folder, or
    which package its towers need."""
    path = folder / "config.json"
    try:
        described = from_json(PairFolder, read_json(path))
        pixels = from_json(PixelConfig, read_json(folder / "preprocess.json"))
    except (OSError, ValueError) as error:
        reason = str(error).removesuffix(".")
        raise UserError(f"{path} cannot be used ({reason}); copy the whole folder again.") from error
    if described.kind != KIND or described.format != FORMAT:
        raise UserError(
            f"{path} has kind {described.kind!r} and format {described.format!r}; this beholder reads {KIND!r} in "
            f"format {FORMAT}; use the beholder that wrote it."
        )
    weights = folder / "model.safetensors"
    tensors = load_tensors(weights)
    texts, words = _texts(folder, described, tensors)
    images = _images(described, tensors, weights)
    maps = JoinedMaps(described.maps) if isinstance(described.maps, JoinedMapsConfig) else PairMaps(described.maps)
    load_into(maps, _part(tensors, "maps."), weights)
    model = LockedPair(images, texts, maps).eval().requires_grad_(False)
    return Foreign(KIND, model, described, pixels, words, folder, {"facts": described.facts})


def _texts(folder: Path, described: PairFolder, tensors: dict[str, Tensor]) -> tuple[FrozenTexts, Words]:
    if described.text is None:
        return embedded_texts()
    reader = BERT(described.text)
    load_into(reader, _part(tensors, "text."), folder / "model.safetensors")
    values = {
        "model_type": "bert",
        "vocab_size": described.text.vocabulary_size,
        "max_position_embeddings": described.text.num_positions,
    }
    return FrozenTexts(reader), read_words(folder, values)


def _images(described: PairFolder, tensors: dict[str, Tensor], weights: Path) -> FrozenImages:
    names = None
    if described.names is not None:
        names = NamedClasses(described.names)
        load_into(names, _part(tensors, "names."), weights)
    if described.image is None:
        return embedded_images(names)
    backbone = build(described.image)
    load_into(backbone, _part(tensors, "image."), weights)
    return FrozenImages(backbone.eval(), names)


def _as_bytes(name: str, tensor: Tensor) -> dict[str, Tensor]:
    if tensor.ndim != 2 or not name.startswith(("maps.", "names.")):
        return {name: tensor}
    step = tensor.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / 127
    return {name: (tensor / step[:, None]).round().to(torch.int8), f"{name}{_STEP}": step}


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors under that prefix, without it; bytes times their steps."""
    found = {}
    for name, tensor in tensors.items():
        if not name.startswith(prefix) or name.endswith(_STEP):
            continue
        if f"{name}{_STEP}" in tensors:
            tensor = tensor.float() * tensors[f"{name}{_STEP}"][:, None]
        found[name.removeprefix(prefix)] = tensor
    return found
