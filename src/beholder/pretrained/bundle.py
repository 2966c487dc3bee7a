"""The model folder: weights, configuration, preprocessing, labels and card, as one value that saves and loads.

config.json  model.safetensors  preprocess.json  labels.json (if any)  README.md
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from beholder.checkpoint.files import load_into, load_tensors, save_tensors
from beholder.config import from_json, to_json
from beholder.models.domain import DomainConfig, DomainModel
from beholder.models.families import specify
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
        """Write the folder; the weights come last, so that a new folder with weights is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        embedder = self.model.embedder
        now = replace(embedder.config, backbones=tuple(specify(backbone) for backbone in embedder.backbones))
        config = replace(self.model.config, embedder=now)  # a loaded backbone is folded, a trained one is not
        write_json(folder / "preprocess.json", to_json(self.pixels))
        write_text(folder / "README.md", self.card)
        if self.labels:
            write_json(folder / "labels.json", list(self.labels))
        else:
            (folder / "labels.json").unlink(missing_ok=True)
        write_json(folder / "config.json", {"format": FORMAT, "model": to_json(config), "facts": self.facts})
        save_tensors(folder / "model.safetensors", self.model.state_dict(), {"format": "pt"})


def load_bundle(folder: Path) -> Bundle:
    """Read a model folder, ready for inference on the CPU. Raises UserError that names what is wrong with it."""
    _check_place(folder)
    path = folder / "config.json"
    with _naming(path):
        described = read_json(path)
        if not isinstance(described, dict) or "format" not in described:
            raise UserError("it is not the configuration of a model")
    if described["format"] != FORMAT:
        raise UserError(
            f"{path} has format {described['format']!r} and this beholder reads format {FORMAT}; "
            "use the beholder that wrote it, or run adapt again."
        )
    with _naming(path):
        model = DomainModel(from_json(DomainConfig, described["model"]))
        facts = _checked_facts(described.get("facts", {}), model)
    with _naming(folder / "preprocess.json"):
        pixels = from_json(PixelConfig, read_json(folder / "preprocess.json"))
    with _naming(folder / "labels.json"):
        labels = _read_labels(folder / "labels.json", model)
    load_into(model, load_tensors(folder / "model.safetensors"), folder / "model.safetensors")
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    model.embedder.ready()
    return Bundle(model.eval().requires_grad_(False), pixels, labels, facts, text)


def _check_place(folder: Path) -> None:
    if not folder.exists():
        raise UserError(f"{folder} does not exist; name a model folder, such as the model/ of a finished run.")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; name a model folder, such as the model/ of a finished run.")
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder} holds no config.json, so it is not a model folder; name the model/ of a finished run, "
            "or copy the whole folder again."
        )


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Tell whatever is wrong with a file as one sentence with its name; building a model from wrong numbers raises
    whatever torch trips over."""
    try:
        yield
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, AssertionError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else _reason(error)
        raise UserError(
            f"{path} cannot be used ({reason}); copy the whole folder again, or run adapt again."
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    lines = str(error).strip().splitlines()
    return lines[0].removesuffix(".") if lines else type(error).__name__


def _checked_facts(facts: Any, model: DomainModel) -> dict[str, Any]:
    if not isinstance(facts, dict):
        raise UserError(f"facts={facts!r}: expected a group of values")
    rate = facts.get("false_alarm_rate")
    if model.usual is not None and not (isinstance(rate, int | float) and 0 < rate < 1):
        raise UserError(f"facts.false_alarm_rate={rate!r}: expected a share between 0 and 1")
    return facts


def _read_labels(path: Path, model: DomainModel) -> tuple[str, ...]:
    """Class names in the head's order. Raises UserError when they are not as many as the head has classes."""
    num_classes = 0 if model.head is None else model.config.head.num_classes
    labels = read_json(path) if path.is_file() else []
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise UserError("it is no list of class names")
    if len(set(labels)) != num_classes or len(labels) != num_classes:
        raise UserError(f"it has {len(set(labels))} class names and the head has {num_classes} classes")
    return tuple(labels)
