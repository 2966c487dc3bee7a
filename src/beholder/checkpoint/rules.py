"""Foreign weights to ours and back: rules that name tensors on both sides, and say how their values are arranged.

Every rule can be undone, so that what is loaded can be written again as it was found.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from beholder.types import UserError


@runtime_checkable
class Change(Protocol):
    """How the values of foreign tensors become ours; `write` undoes `read`."""

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]: ...

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]: ...


@dataclass(frozen=True)
class Same:
    """As they are."""

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return list(theirs)

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return list(ours)


@dataclass(frozen=True)
class Transposed:
    """One matrix, rows and columns exchanged."""

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [tensor.T for tensor in theirs]

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [tensor.T for tensor in ours]


@dataclass(frozen=True)
class Joined:
    """Several of theirs, one below the other, are one of ours; `sizes` are their rows.

    Along another dimension they lie side by side, such as tokens, 1 T D.
    """

    sizes: tuple[int, ...]
    dim: int = 0

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        _check_sizes(theirs, self.sizes, self.dim)
        return [torch.cat(list(theirs), dim=self.dim)]

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return list(ours[0].split(self.sizes, dim=self.dim))


@dataclass(frozen=True)
class Parted:
    """One of theirs is several of ours, one below the other; `sizes` are their rows."""

    sizes: tuple[int, ...]

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        if len(theirs[0]) != sum(self.sizes):
            raise ValueError(f"{len(theirs[0])} rows instead of {sum(self.sizes)}")
        return list(theirs[0].split(self.sizes))

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [torch.cat(list(ours))]


@dataclass(frozen=True)
class HeadByHead:
    """Query, key and value lie head by head (N 3 K) in theirs; in ours all queries come first (3 N K)."""

    num_heads: int

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [tensor.unflatten(0, (self.num_heads, 3, -1)).transpose(0, 1).flatten(0, 2) for tensor in theirs]

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [tensor.unflatten(0, (3, self.num_heads, -1)).transpose(0, 1).flatten(0, 2) for tensor in ours]


@dataclass(frozen=True)
class Shaped:
    """The same values in another shape."""

    ours: tuple[int, ...]
    theirs: tuple[int, ...]

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        if tuple(theirs[0].shape) != self.theirs:
            raise ValueError(f"shape {tuple(theirs[0].shape)} instead of {self.theirs}")
        return [theirs[0].reshape(self.ours)]

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [ours[0].reshape(self.theirs)]


@dataclass(frozen=True)
class Stacked:
    """Matrices of theirs, `num_parts` of one expert after another, are one tensor of ours: expert by expert, the parts
    of each one below the other."""

    num_parts: int = 1

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        starts = range(0, len(theirs), self.num_parts)
        return [torch.stack([torch.cat(list(theirs[start : start + self.num_parts])) for start in starts])]

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [part for expert in ours[0] for part in expert.chunk(self.num_parts)]


@dataclass(frozen=True)
class Then:
    """One change after another."""

    first: Change
    second: Change

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return self.second.read(self.first.read(theirs))

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return self.first.write(self.second.write(ours))


@dataclass(frozen=True)
class Rule:
    """These tensors of ours are those tensors of theirs."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    change: Change = Same()


def same(ours: str, theirs: str, change: Change = Same()) -> Rule:
    """A rule for one tensor on each side."""
    return Rule((ours,), (theirs,), change)


def layer(ours: str, theirs: str, *, has_bias: bool = True) -> list[Rule]:
    """Weight and bias of a norm or linear map."""
    return [same(f"{ours}.{part}", f"{theirs}.{part}") for part in ("weight", *["bias"] * has_bias)]


def read_rules(
    tensors: Mapping[str, Tensor], rules: Iterable[Rule], *, ignored: Sequence[str], source: Path
) -> dict[str, Tensor]:
    """Their tensors as ours. `ignored` are patterns of names that hold nothing learned, such as masks.

    Raises UserError that names what is missing, left over or misshapen.
    """
    left, ours = dict(tensors), {}
    missing: list[str] = []
    for rule in rules:
        absent = [name for name in rule.theirs if name not in tensors]
        missing += absent
        if absent:
            continue
        found = [tensors[name] for name in rule.theirs]
        for name in rule.theirs:
            left.pop(name, None)
        try:
            changed = rule.change.read(found)
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"{source} has misshapen {', '.join(rule.theirs)} ({str(error).splitlines()[0]}): it does not fit its "
                "config.json; download the folder again."
            ) from error
        ours.update(zip(rule.ours, changed, strict=True))
    extra = [name for name in left if not any(fnmatch.fnmatchcase(name, pattern) for pattern in ignored)]
    for what, names in (("lacks", missing), ("has unknown", extra)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(
                f"{source} {what} {', '.join(sorted(names)[:3])}{more}: it does not fit its config.json; "
                "download the folder again."
            )
    return ours


def write_rules(tensors: Mapping[str, Tensor], rules: Iterable[Rule]) -> dict[str, Tensor]:
    """Our tensors as theirs."""
    theirs: dict[str, Tensor] = {}
    for rule in rules:
        theirs.update(zip(rule.theirs, rule.change.write([tensors[name] for name in rule.ours]), strict=True))
    return theirs


def _check_sizes(tensors: Sequence[Tensor], sizes: Sequence[int], dim: int) -> None:
    found = tuple(tensor.shape[dim] for tensor in tensors)
    if found != tuple(sizes):
        raise ValueError(f"sizes {found} instead of {tuple(sizes)}")
