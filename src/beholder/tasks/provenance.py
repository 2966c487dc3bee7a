"""Where a generated picture comes from, written into the file itself, so that nobody takes it for a photo."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from beholder.runtime.files import refuse_unwritable, told_kindly, write_whole
from beholder.runtime.seed import check_seed
from beholder.types import UserError
from beholder.version import VERSION

_KEY = "beholder"
MOST_PICTURES = 10_000
"""That one call makes, and holds in memory."""


def describe_origin(
    verb: str, model: str, seed: int, prompt: str | Sequence[str | Path], **settings: Any
) -> dict[str, Any]:
    """What is told of a generated picture: that it is one, by which model (SHA-256 of its weights), from which text,
    which texts or which files (paths: name and SHA-256 of each that is there), with which seed and settings."""
    return {
        "generated": True,
        "made_by": f"beholder {VERSION} {verb}",
        "model": model,
        "seed": seed,
        "prompt": prompt
        if isinstance(prompt, str)
        else [one if isinstance(one, str) else {"file": one.name, **_hash(one)} for one in prompt],
        **settings,
    }


def write_picture(path: Path, pixels: UInt8[np.ndarray, "H W 3"], origin: Mapping[str, Any]) -> None:
    """Write a PNG that carries its origin, and the folders above it. Raises UserError for another ending, and where it
    cannot be written."""
    check_name(path)
    data = encode_picture(pixels, origin)
    with told_kindly(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda temporary: _write_bytes(temporary, data))


def encode_picture(pixels: UInt8[np.ndarray, "H W 3"], origin: Mapping[str, Any]) -> bytes:
    """The PNG that `write_picture` writes."""
    info = PngInfo()
    info.add_text("Software", str(origin["made_by"]))
    info.add_itxt(_KEY, json.dumps(dict(origin), ensure_ascii=False))
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", pnginfo=info, optimize=True)
    return stream.getvalue()


def check_name(path: Path, inputs: Sequence[Path] = ()) -> None:
    """Raises UserError for what is no name of a PNG file or cannot be written, and for one of the pictures that are
    read."""
    if path.suffix.lower() != ".png":
        raise UserError(
            f"--out {path}: pictures are written as PNG, which carries where they come from; end it in .png."
        )
    with told_kindly(path):
        if path.is_dir():
            raise UserError(f"--out {path} is a folder; name a file, such as {path / 'answer.png'}.")
    if any(path.resolve() == one.resolve() for one in inputs):
        raise UserError(f"--out {path} is a picture that is read, and would be lost; name another file.")
    refuse_unwritable(path)


def check_drawing(count: int, batch_size: int, seed: int) -> None:
    """Raises UserError for counts below 1, for more pictures than are held in memory at once, and for what is no
    seed."""
    for option, value in (("--count", count), ("--batch-size", batch_size)):
        if value < 1:
            raise UserError(f"{option} {value}: at least 1 is needed.")
    check_count(count)
    check_seed(seed)


def check_count(count: int) -> None:
    """Raises UserError for more pictures than are held in memory at once."""
    if count > MOST_PICTURES:
        raise UserError(
            f"--count {count}: at most {MOST_PICTURES:,} pictures are made by one command; repeat it with other seeds."
        )


def read_origin(path: Path) -> dict[str, Any] | None:
    """What `write_picture` wrote; None for any other picture."""
    with Image.open(path) as image:
        text = image.info.get(_KEY)
    return json.loads(text) if isinstance(text, str) else None


def _write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _hash(path: Path) -> dict[str, str]:
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} if path.is_file() else {}
