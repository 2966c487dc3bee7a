"""The model folder of what was trained by itself: an image codec, or a model of sequences with the codec that it reads.

config.json  model.safetensors  README.md  codec/ (of a model of sequences: its codec, a folder of the same kind)
tokenizer.json  words.json (where it reads captions)
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from beholder.checkpoint.files import load_into, load_tensors, save_tensors
from beholder.config import from_json, to_json
from beholder.models.codec import CodecConfig, ImageCodec
from beholder.models.dalle import TextToImageConfig, build_text_to_image
from beholder.models.lvm import LVM, LVMConfig
from beholder.models.maskgit import MaskGIT, MaskGITConfig
from beholder.runtime.files import read_json, write_json, write_text
from beholder.tokenizers.captions import CAPTION_FILES, Captions, load_captions
from beholder.types import UserError

Whole = TypeVar("Whole")
FORMAT = 1
CODEC = "codec"
SENTENCES = "lvm"
TEXT_TO_IMAGE = "text-to-image"
MASKED = "masked"
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class PartKind:
    """How a part of one kind is built."""

    config: type
    model: Callable[[Any], nn.Module]
    meaning: str
    """As the user is told."""
    verb: str
    """What makes one."""


PARTS: dict[str, PartKind] = {
    CODEC: PartKind(CodecConfig, ImageCodec, "an image tokenizer", "train tokenizer"),
    SENTENCES: PartKind(LVMConfig, LVM, "a model of visual sentences", "train lvm"),
    TEXT_TO_IMAGE: PartKind(
        TextToImageConfig, build_text_to_image, "a model that draws what a text says", "train text-to-image"
    ),
    MASKED: PartKind(MaskGITConfig, MaskGIT, "a model of masked pictures", "train masked"),
}
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
    captions: Captions | None = None
    """What turns captions into tokens, where the model reads them."""

    def need_codec(self) -> Part:
        """The codec; a codec is its own. Raises UserError where there is none."""
        if self.kind == CODEC:
            return self
        if self.codec is None:
            raise UserError(f"{self.source} holds no codec/; copy the whole folder again.")
        return self.codec

    def need_captions(self) -> Captions:
        """What it reads captions by. Raises UserError where there is none."""
        if self.captions is None:
            raise UserError(f"{self.source} holds no {CAPTION_FILES[0]}; copy the whole folder again.")
        return self.captions


def need_whole(model: Whole | Part) -> Whole:
    """The same model. Raises UserError for a part, which gives no answers by itself."""
    if isinstance(model, Part):
        raise UserError(
            f"{model.source} is {PARTS[model.kind].meaning}, which answers nothing here; name a model that adapt made, "
            "or one that reads images and texts."
        )
    return model


def save_part(
    folder: Path,
    kind: str,
    model: nn.Module,
    config: Any,
    *,
    facts: Mapping[str, Any],
    card: str,
    codec: Part | None = None,
    captions: Captions | None = None,
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
    if captions is not None:
        captions.save(folder)
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
    captions = None
    if (folder / CAPTION_FILES[0]).is_file():
        with _naming(folder / CAPTION_FILES[0]):
            captions = load_captions(folder)
    facts = described.get("facts", {})
    return Part(kind, model.eval().requires_grad_(False), config, fingerprint, folder, facts, codec, captions)


def open_part(name: str | Path, kind: str | Sequence[str], option: str) -> Part:
    """The part of that kind, or of one of those, in a model folder, or in the run folder that holds one; `option` is
    what named it.

    Raises UserError where there is none, it is broken, or it is of another kind.
    """
    folder = Path(name)
    if not (folder / "config.json").is_file() and (folder / "model" / "config.json").is_file():
        folder = folder / "model"
    kinds = [kind] if isinstance(kind, str) else list(kind)
    needed = " or ".join(
        f"{'a tokenizer' if one == CODEC else PARTS[one].meaning}, as `beholder {PARTS[one].verb}` makes one"
        for one in kinds
    )
    if not (folder / "config.json").is_file():
        raise UserError(f"{option} {name}: no model lies there; name the run or model folder of {needed}.")
    with _naming(folder / "config.json"):
        found = read_json(folder / "config.json").get("kind")
    if found not in kinds:
        has_codec = kinds == [CODEC] and (folder / CODEC).is_dir()
        hint = f"; its tokenizer lies in {folder / CODEC}" if has_codec else ""
        raise UserError(f"{option} {name} holds a model of the kind {found or 'domain'!r}{hint}; name {needed}.")
    return load_part(folder)


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
