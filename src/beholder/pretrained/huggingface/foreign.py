"""A foreign model with all that it takes to use it: its pictures' preprocessing and its words beside its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from beholder.pretrained.huggingface.absent import Absent
from beholder.pretrained.huggingface.checkpoint import read_checkpoint, read_values
from beholder.pretrained.huggingface.preprocess import read_pixels
from beholder.pretrained.huggingface.words import read_words
from beholder.tokenizers.pixels import PixelConfig
from beholder.tokenizers.text import Words
from beholder.types import UserError

Part = TypeVar("Part")


@dataclass(frozen=True)
class Foreign:
    """A usable model from a folder as the Hugging Face hub holds it."""

    kind: str
    """Its `model_type`."""
    model: nn.Module
    """Ours, in evaluation mode, on the CPU, in the precision of its file."""
    config: Any
    """Of `model`."""
    pixels: PixelConfig | None
    """How images become pixels; None where the model reads none."""
    words: Words | None
    """Its tokenizer; None where it reads no text, or `absent` tells why."""
    source: Path
    """The folder it came from."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Its config.json: names of classes and the like, which `config` does not have."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Why there are no "pixels" or no "words", in a sentence each."""

    def need_words(self) -> Words:
        """The tokenizer. Raises UserError that tells why there is none."""
        if self.words is None:
            raise UserError(self.absent.get("words", f"{self.source} was loaded without a tokenizer."))
        return self.words

    def need_pixels(self) -> PixelConfig:
        """How images become pixels. Raises UserError that tells why that is not known."""
        if self.pixels is None:
            raise UserError(self.absent.get("pixels", f"{self.source} was loaded without its preprocessing."))
        return self.pixels


def load_foreign(folder: Path) -> Foreign:
    """A model from a folder with config.json and safetensors, and what lies beside them.

    A tokenizer or a preprocessing that is not there, or of a kind not known here, is None, and `need_words` and
    `need_pixels` tell why. Raises UserError that names whatever is broken.
    """
    values = read_values(folder)
    absent: dict[str, str] = {}
    pixels = _part("pixels", absent, lambda: read_pixels(folder, str(values["model_type"])))
    words = _part("words", absent, lambda: read_words(folder, values))
    checkpoint = read_checkpoint(folder)
    return Foreign(checkpoint.kind, checkpoint.model, checkpoint.config, pixels, words, folder, values, absent)


def _part(name: str, absent: dict[str, str], read: Callable[[], Part]) -> Part | None:
    try:
        return read()
    except Absent as error:
        absent[name] = str(error)
        return None
