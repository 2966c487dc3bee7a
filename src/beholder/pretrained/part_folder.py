"""The model folder of what was trained by itself: an image codec, or a model of sequences with the codec that it reads.

config.json  model.safetensors  README.md  codec/ (of a model of sequences: its codec, a folder of the same kind)
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from beholder.checkpoint.files import load_into, load_tensors, save_tensors
from beholder.config import from_json, to_json
from beholder.models.codec import CodecConfig, ImageCodec
from beholder.runtime.files import read_json, write_json, write_text
from beholder.types import UserError

FORMAT = 1
CODEC = "codec"
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class PartKind:
    """How a part of one kind is built."""

    config: type
    model: Callable[[Any], nn.Module]


PARTS: dict[str, PartKind] = {CODEC: PartKind(CodecConfig, ImageCodec)}
"""By the `kind` in config.json."""


@dataclass(frozen=True)
class Part:
    """A usable part, in evaluation mode, on the CPU."""

    kind: str
    model: nn.Module
    config: Any
    """Of `model`."""
    fingerprint: str
    """SHA-256 of its weights file: what says that two codecs are the same."""
    source: Path
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What is known beside the weights: data, seeds, figures, versions. JSON values."""
    codec: Part | None = None
    """What turns pictures into the codes that a model of sequences reads."""

    def need_codec(self) -> Part:
        """The codec; a codec is its own. Raises UserError where there is none."""
        if self.kind == CODEC:
            return self
        if self.codec is None:
            raise UserError(f"{self.source} holds no codec/; copy the whole folder again.")
        return self.codec


def save_part(
    folder: Path,
    kind: str,
    model: nn.Module,
    config: Any,
    *,
    facts: Mapping[str, Any],
    card: str,
    codec: Part | None = None,
) -> None:
    """Write the folder, with a copy of the codec's; the weights come last, so that a folder with weights is whole."""
    assert kind in PARTS and isinstance(config, PARTS[kind].config), (kind, type(config))
    folder.mkdir(parents=True, exist_ok=True)
    if codec is not None and (folder / CODEC) != codec.source:
        shutil.rmtree(folder / CODEC, ignore_errors=True)
        (folder / CODEC).mkdir()
        for name in ("config.json", "README.md", _WEIGHTS):
            shutil.copyfile(codec.source / name, folder / CODEC / name)
    described: dict[str, Any] = {"format": FORMAT, "kind": kind, "config": to_json(config), "facts": dict(facts)}
    if codec is not None:
        described["codec"] = codec.fingerprint
    write_text(folder / "README.md", card)
    write_json(folder / "config.json", described)
    save_tensors(folder / _WEIGHTS, model.state_dict(), {"format": "pt"})


def load_part(folder: Path) -> Part:
    """Read the folder. Raises UserError that names what is wrong with it, or that its codec is another one."""
    path, weights = folder / "config.json", folder / _WEIGHTS
    with _naming(path):
        described = read_json(path)
        kind = described["kind"]
        if kind not in PARTS or described["format"] != FORMAT:
            raise UserError(f"kind {kind!r} in format {described['format']!r} is not known to this beholder")
        config = from_json(PARTS[kind].config, described["config"])
        model = PARTS[kind].model(config)
    load_into(model, load_tensors(weights), weights)
    fingerprint = hashlib.sha256(weights.read_bytes()).hexdigest()
    codec = load_part(folder / CODEC) if (folder / CODEC / "config.json").is_file() else None
    if codec is not None:
        check_codec(described.get("codec", ""), codec, folder)
    return Part(
        kind, model.eval().requires_grad_(False), config, fingerprint, folder, described.get("facts", {}), codec
    )  # fmt: skip


def check_codec(wanted: str, codec: Part, source: Path) -> None:
    """Raises UserError when a codec is not the one whose codes the model of `source` learned."""
    if codec.fingerprint != wanted:
        raise UserError(
            f"{codec.source} is not the tokenizer that {source} was trained with (SHA-256 {codec.fingerprint[:12]} "
            f"instead of {wanted[:12]}); name that one, or train anew with this one."
        )


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Tell whatever is wrong with a configuration as one sentence with the file's name."""
    try:
        yield
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, AssertionError) as error:
        lines = str(error).strip().splitlines()
        reason = lines[0].removesuffix(".") if lines else type(error).__name__
        raise UserError(f"{path} cannot be used ({reason}); copy the whole folder again.") from error
