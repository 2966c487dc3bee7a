"""The model folder of a describer, and back.

config.json  model.safetensors  preprocess.json  tokenizer.json  README.md

A vision backbone as it came out of a package is named, not stored; any other is in the folder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beholder.checkpoint.files import load_into, load_tensors, save_tensors
from beholder.config import from_json, to_json
from beholder.models.describer import Describer
from beholder.models.families import BackboneSpec, build, specify
from beholder.models.names import Names, NamesConfig
from beholder.models.seen import SeenTokens
from beholder.models.vision_language import VisionLanguage, VisionLanguageConfig
from beholder.pretrained.catalogue import efficientnet_lite0
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.huggingface.words import read_words, write_words
from beholder.runtime.files import read_json, write_json, write_text
from beholder.tokenizers.pixels import PixelConfig
from beholder.tokenizers.text import Words
from beholder.types import UserError

KIND = "describer"
FORMAT = 1
_SPEAKER, _VISION, _NAMES = "speaker.", "vision.", "names."


@dataclass(frozen=True)
class DescriberFolder:
    """What stands in config.json."""

    speaker: VisionLanguageConfig
    side: int
    """Of the grid of parts in which an image is seen."""
    vision: BackboneSpec | None = None
    """None: EfficientNet-Lite0 from its package."""
    can: tuple[str, ...] = ("describe",)
    """What it was trained to do: describe, answer, or both; and regions, where it joins phrases about parts."""
    names: NamesConfig | None = None
    """Of what it finds in parts of an image."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What is known beside the weights: data, seeds, figures, versions. JSON values."""
    kind: str = KIND
    format: int = FORMAT


def embedded_vision(side: int) -> SeenTokens:
    """EfficientNet-Lite0 out of its package. Raises UserError when that is missing."""
    return SeenTokens(efficientnet_lite0().folded(), side)


def save_describer(
    folder: Path,
    model: Describer,
    words: Words,
    pixels: PixelConfig,
    *,
    has_embedded_vision: bool,
    can: tuple[str, ...],
    facts: dict[str, Any],
    card: str,
) -> None:
    """Write the folder; the weights come last, so that a folder with weights is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"{_SPEAKER}{name}": value for name, value in model.speaker.state_dict().items()}
    vision = None
    if not has_embedded_vision:
        vision = specify(model.vision.backbone)
        tensors |= {f"{_VISION}{name}": value for name, value in model.vision.backbone.state_dict().items()}
    if model.names is not None:
        tensors |= {f"{_NAMES}{name}": value for name, value in model.names.state_dict().items()}
    write_words(folder, words)
    write_json(folder / "preprocess.json", to_json(pixels))
    write_text(folder / "README.md", card)
    names = None if model.names is None else model.names.config
    described = DescriberFolder(model.speaker.config, model.vision.side, vision, can, names, facts)
    write_json(folder / "config.json", to_json(described))
    save_tensors(folder / "model.safetensors", tensors, {"format": "pt"})


def load_describer(folder: Path) -> Foreign:
    """A `Describer` in evaluation mode, on the CPU. Raises UserError that names what is wrong with the folder."""
    path = folder / "config.json"
    try:
        described = from_json(DescriberFolder, read_json(path))
        pixels = from_json(PixelConfig, read_json(folder / "preprocess.json"))
    except (OSError, ValueError) as error:
        reason = str(error).removesuffix(".")
        raise UserError(f"{path} cannot be used ({reason}); copy the whole folder again.") from error
    if described.format != FORMAT:
        raise UserError(
            f"{path} has format {described.format!r}; this beholder reads {FORMAT}; use the beholder that wrote it."
        )
    weights = folder / "model.safetensors"
    tensors = load_tensors(weights)
    speaker = VisionLanguage(described.speaker)
    load_into(speaker, _part(tensors, _SPEAKER), weights)
    if described.vision is None:
        vision = embedded_vision(described.side)
    else:
        backbone = build(described.vision)
        load_into(backbone, _part(tensors, _VISION), weights)
        vision = SeenTokens(backbone.eval(), described.side)
    names = None if described.names is None else Names(described.names)
    if names is not None:
        load_into(names, _part(tensors, _NAMES), weights)
    values = {"model_type": KIND, "vocab_size": described.speaker.language.vocabulary_size}
    words = read_words(folder, values)
    model = Describer(vision, speaker, names).eval().requires_grad_(False)
    told = {"facts": described.facts, "can": list(described.can)}
    return Foreign(KIND, model, described, pixels, words, folder, told)


def _part(tensors: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
