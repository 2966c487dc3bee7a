"""The model folder: weights, configuration, preprocessing, labels and card, as one value that saves and loads.

config.json  model.safetensors  preprocess.json  labels.json (if any)  README.md
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beholder.checkpoint.files import load_into, load_tensors, save_tensors
from beholder.config import from_json, to_json
from beholder.models.domain import DomainConfig, DomainModel
from beholder.runtime.files import read_json, write_json, write_text
from beholder.tokenizers.pixels import PixelConfig
from beholder.types import UserError

FORMAT = 1


@dataclass(frozen=True)
class Bundle:
    """A usable model: what `beholder.load` gives and what the tasks take."""

    model: DomainModel
    pixels: PixelConfig
    """How images become pixels; `size` is overruled by the embedder's resolutions."""
    labels: tuple[str, ...] = ()
    """Class names in the head's order; empty without a head."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What is known of the model besides its weights: false alarm rate, training data, versions. JSON values."""
    card: str = ""
    """The model card, Markdown."""

    def save(self, folder: Path) -> None:
        """Write the folder; the weights come last, so that a folder with weights is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "preprocess.json", to_json(self.pixels))
        write_text(folder / "README.md", self.card)
        if self.labels:
            write_json(folder / "labels.json", list(self.labels))
        write_json(folder / "config.json", {"format": FORMAT, "model": to_json(self.model.config), "facts": self.facts})
        save_tensors(folder / "model.safetensors", self.model.state_dict(), {"format": "pt"})


def load_bundle(folder: Path) -> Bundle:
    """Read a model folder, ready for inference on the CPU. Raises UserError that names what is wrong with it."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a model folder; give the folder that holds config.json.")
    if not (folder / "config.json").is_file():
        hint = f"; did you mean {folder / 'model'}?" if (folder / "model" / "config.json").is_file() else "."
        raise UserError(f"{folder} holds no config.json, so it is not a model folder{hint}")
    try:
        described = read_json(folder / "config.json")
        pixels = from_json(PixelConfig, read_json(folder / "preprocess.json"))
        labels = tuple(read_json(folder / "labels.json")) if (folder / "labels.json").is_file() else ()
    except (ValueError, FileNotFoundError) as error:
        raise UserError(f"{folder} is not a whole model folder: {error}") from error
    if described.get("format") != FORMAT:
        raise UserError(f"{folder} has format {described.get('format')!r}; this beholder reads format {FORMAT}.")
    model = DomainModel(from_json(DomainConfig, described["model"]))
    load_into(model, load_tensors(folder / "model.safetensors"), folder / "model.safetensors")
    card = (folder / "README.md").read_text(encoding="utf-8") if (folder / "README.md").is_file() else ""
    model.embedder.ready()
    return Bundle(model.eval().requires_grad_(False), pixels, labels, described.get("facts", {}), card)
