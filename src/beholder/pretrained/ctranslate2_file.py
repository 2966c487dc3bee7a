"""The file `model.bin` of CTranslate2 (MIT, OpenNMT/CTranslate2), read as numbers and names: version 6.

All numbers have the little end first. A header: version (4 bytes), kind (text), revision (4 bytes). How many variables
(4 bytes), and of each: name (text), number of dimensions (1 byte), dimensions (4 bytes each), type (1 byte), size in
bytes (4 bytes), values. How many aliases (4 bytes), and of each: name and the name that it stands for. A text is its
length (2 bytes), and so many bytes, of which the last is zero.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from beholder.types import UserError

_VERSION = 6
_TYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)
"""By the number that stands for each."""
_REMEDY = "download the folder again"


@dataclass(frozen=True)
class Variables:
    """What a file holds."""

    tensors: Mapping[str, Tensor]
    aliases: Mapping[str, str]
    """Further names of tensors: alias -> name."""


def read_variables(path: Path, kind: str, revision: int) -> Variables:
    """All variables of a file of this kind. Raises UserError for another kind, a damaged file, or one cut short."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {_REMEDY}.") from error
    file = _File(path, data)
    found = file.number("I", "the version")
    if found != _VERSION:
        raise UserError(
            f"{path} begins with {found}, and CTranslate2's files with {_VERSION}, their version: it is another file "
            "(pickled weights are never read), or of an older converter; convert the model again."
        )
    named, numbered = file.text("the kind"), file.number("I", "the revision")
    if (named, numbered) != (kind, revision):
        raise UserError(
            f"{path} holds a {named} of revision {numbered}; only a {kind} of revision {revision} is known here."
        )
    tensors: dict[str, Tensor] = {}
    for place in range(1, file.number("I", "the number of variables") + 1):
        name = file.text(f"the name of variable {place}")
        if name in tensors:
            raise UserError(f"{path} is damaged: it has {name} twice; {_REMEDY}.")
        tensors[name] = file.tensor(name)
    aliases: dict[str, str] = {}
    for place in range(1, file.number("I", "the number of aliases") + 1):
        alias, name = file.text(f"alias {place}"), file.text(f"alias {place}")
        if name not in tensors or alias in tensors:
            raise UserError(f"{path} is damaged: {alias} stands for {name}, which cannot be; {_REMEDY}.")
        aliases[alias] = name
    if file.place != len(data):
        raise UserError(f"{path} is damaged: {len(data) - file.place:,} bytes follow after its end; {_REMEDY}.")
    return Variables(tensors, aliases)


class _File:
    """Bytes, and how far they have been read."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self.data = data
        self.place = 0

    def take(self, num_bytes: int, what: str) -> bytes:
        found = self.data[self.place : self.place + num_bytes]
        if len(found) < num_bytes:
            raise UserError(f"{self.path} is cut short: it ends within {what}; {_REMEDY}.")
        self.place += num_bytes
        return found

    def number(self, form: str, what: str) -> int:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}"), what))[0]

    def text(self, what: str) -> str:
        raw = self.take(self.number("H", what), what)
        try:
            return raw.removesuffix(b"\0").decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path} is damaged: {what} is no text; {_REMEDY}.") from error

    def tensor(self, name: str) -> Tensor:
        shape = [self.number("I", name) for _ in range(self.number("B", name))]
        kind, num_bytes = self.number("B", name), self.number("I", name)
        if kind >= len(_TYPES):
            raise UserError(f"{self.path} is damaged: {name} is of type {kind}, which there is not; {_REMEDY}.")
        if math.prod(shape) * _TYPES[kind].itemsize != num_bytes or not num_bytes:
            size = " x ".join(map(str, shape)) or "one number"
            raise UserError(f"{self.path} is damaged: {name}, {size}, cannot lie in {num_bytes:,} bytes; {_REMEDY}.")
        values = bytearray(self.take(num_bytes, name))  # of its own: tensors are written to
        return torch.frombuffer(values, dtype=_TYPES[kind]).reshape(shape)
