"""The model folder of trained maps between two towers, and back.

config.json  model.safetensors  preprocess.json  README.md  tokenizer.json (where texts are not read by MiniLM)

Towers that come out of packages are named, not stored; any other is in the folder.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from beholder.checkpoint.files import load_into, load_tensors, save_tensors
from beholder.config import from_json, to_json
from beholder.models.bert import BERT, BERTConfig
from beholder.models.families import BackboneSpec, build, specify
from beholder.models.pairs import FrozenImages, FrozenTexts, LockedPair, PairMaps, PairMapsConfig
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.huggingface.words import read_words, write_words
from beholder.pretrained.towers import Towers, embedded_images, embedded_texts
from beholder.runtime.files import read_json, write_json, write_text
from beholder.tokenizers.pixels import PixelConfig
from beholder.tokenizers.text import Words
from beholder.types import UserError

KIND = "pairs"
FORMAT = 1


@dataclass(frozen=True)
class PairFolder:
    """What stands in config.json."""

    maps: PairMapsConfig
    image: BackboneSpec | None = None
    """None: EfficientNet-Lite0 from its package."""
    text: BERTConfig | None = None
    """None: MiniLM from its package."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What is known beside the weights: data, seeds, figures, versions. JSON values."""
    kind: str = KIND
    format: int = FORMAT


def save_pair_folder(
    folder: Path,
    towers: Towers,
    maps: PairMaps,
    *,
    facts: dict[str, Any],
    card: str,
    matrices: torch.dtype = torch.float32,
) -> None:
    """Write the folder; the weights come last. `matrices`: how the maps' are stored; half precision moves a point by a
    thousandth."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {
        f"maps.{name}": value.to(matrices) if value.ndim > 1 else value for name, value in maps.state_dict().items()
    }
    image, text = None, None
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
    write_json(folder / "config.json", to_json(PairFolder(maps.config, image, text, facts)))
    save_tensors(folder / "model.safetensors", tensors, {"format": "pt"})


def load_pair_folder(folder: Path) -> Foreign:
    """A `LockedPair` in evaluation mode, on the CPU. Raises UserError that names what is wrong with the folder, or which
    package its towers need."""
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
    images = _images(described, tensors, weights, texts, words)
    maps = PairMaps(described.maps)
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


def _images(
    described: PairFolder, tensors: dict[str, Tensor], weights: Path, texts: FrozenTexts, words: Words
) -> FrozenImages:
    if described.image is None:
        return embedded_images(texts, words) if described.maps.is_anchored else embedded_images()
    backbone = build(described.image)
    load_into(backbone, _part(tensors, "image."), weights)
    return FrozenImages(backbone)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
