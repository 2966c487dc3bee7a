"""A folder's images with a text each, or with a class whose name is the text, in parts without a common duplicate."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int

from beholder.data.curate import Curation, curate
from beholder.data.decode import Limits
from beholder.data.sources import Source, read_source
from beholder.data.split import combine_groups, grouped_folds
from beholder.runtime.device import Device
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.runtime.seed import derive
from beholder.types import Sample, UserError

FEWEST = 20
"""Pairs in each part, below which a score says nothing."""
_NUM_FOLDS = 5
"""One is held out to tell the result, one to choose settings, the others are learned from."""
Part = Literal["train", "validation", "test", ""]


@dataclass(frozen=True)
class PairSource:
    """Readable samples that have a text."""

    description: str
    samples: list[Sample]
    parts: np.ndarray
    """ "train", "validation" or "test" for each; "" for what is left out."""
    groups: Int[np.ndarray, " n"]
    """What is near-duplicate, or of one group of the data, has one number."""
    has_classes: bool
    """Whether the texts are names of classes."""
    curation: Curation
    num_silent: int
    """Readable images without a text."""

    def rows(self, part: Part) -> Int[np.ndarray, " m"]:
        """Numbers of the samples of that part."""
        return np.flatnonzero(self.parts == part)


def read_pairs(
    run: RunFolder, data: Path, limits: Limits, device: Device, seed: int, log: Log, *, is_guard: bool = False,
    group: str | None = None,
) -> PairSource:  # fmt: skip
    """Read, curate and part: a fifth for the test, a fifth for validation, the rest to learn from; a guard is all for
    test and validation. Parts that the data name are kept, unless a `group` is asked for: a column, or "folder", of
    whose images none stand in two parts.

    Raises UserError for data without texts or classes, with one only, or with fewer than 20 pairs in a part.
    """
    source, has_classes = _open(data, group)
    log.stage("Guard" if is_guard else "Read", source.description)
    suffix = "-guard" if is_guard else ""
    curation = curate(
        source, run.scratch(f"survey{suffix}"), limits=limits, num_workers=device.num_threads, log=log,
        quarantine_file=run.path / f"quarantine{suffix}.jsonl",
    )  # fmt: skip
    kept = [row for row, sample in enumerate(curation.samples) if text_of(sample)]
    samples = [curation.samples[row] for row in kept]
    num_silent = len(curation.samples) - len(samples)
    if num_silent:
        log.warn(f"{num_silent:,} images without a text are left out")
    groups = combine_groups(curation.cluster[kept], np.array([hash_of(one.group or one.key) for one in samples]))
    if group is not None and any(sample.split for sample in samples):
        log.warn(f"the parts that {data} names are not used: groups decide")
        samples = [replace(sample, split=None) for sample in samples]
    parts = _guard_parts(samples, groups, seed) if is_guard else parts_of(samples, groups, seed)
    found = PairSource(source.description, samples, parts, groups, has_classes, curation, num_silent)
    _check(found, data, is_guard=is_guard)
    return found


def text_of(sample: Sample) -> str:
    """The sample's text, or its class as words."""
    return sample.text or (sample.label or "").replace("_", " ").strip()


def hash_of(name: str) -> int:
    """A number that stands for a group's name."""
    return derive(0, name)


def digest_of(source: PairSource) -> str:
    """Of keys, texts and parts, to notice that a folder has changed since a run was begun."""
    digest = hashlib.blake2b(digest_size=16)
    for sample, part in zip(source.samples, source.parts.tolist(), strict=True):
        digest.update(repr((sample.key, text_of(sample), part)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _open(data: Path, group: str | None) -> tuple[Source, bool]:
    """The source, with its texts or else its classes, and whether it is the latter."""
    source = read_source(data, group=group)
    if any(sample.text for sample in source.samples):
        return source, False
    try:
        return read_source(data, labels="auto", group=group), True
    except UserError as error:  # the same folder was read a moment ago: it has no classes
        raise UserError(
            f"{data} has neither texts nor classes ({source.description}); put a text beside each image (x.png and "
            "x.txt), or sort the images into one folder per class."
        ) from error


def parts_of(samples: Sequence[Sample], groups: Int[np.ndarray, " n"], seed: int) -> np.ndarray:
    """The named parts where there are all three, else folds of whole groups, classes spread evenly."""
    names = ("test", "validation", "train")
    given = np.array([sample.split or "" for sample in samples], dtype="<U10")
    if all((given == name).any() for name in names):
        return given
    folds = grouped_folds([sample.label for sample in samples], groups, _NUM_FOLDS, seed)
    return np.array([names[min(fold, 2)] for fold in folds.tolist()], dtype="<U10")


def _guard_parts(samples: Sequence[Sample], groups: Int[np.ndarray, " n"], seed: int) -> np.ndarray:
    """A test part that has a name is kept, and so is a validation part; without the one the rest takes the other's
    place, without both there are two halves."""
    given = np.array([sample.split or "" for sample in samples], dtype="<U10")
    if not (given == "test").any() or (given == "test").all():
        halves = grouped_folds([sample.label for sample in samples], groups, 2, seed)
        return np.where(halves == 0, "test", "validation").astype("<U10")
    if (given == "validation").any():
        return np.where(np.isin(given, ("test", "validation")), given, "").astype("<U10")
    return np.where(given == "test", "test", "validation").astype("<U10")


def _check(found: PairSource, data: Path, *, is_guard: bool) -> None:
    every: tuple[Part, ...] = ("test", "validation", "train")
    few: Part | None = next((name for name in every[: 2 if is_guard else 3] if len(found.rows(name)) < FEWEST), None)
    if few is not None:
        raise UserError(
            f"{data} has {len(found.rows(few))} pairs of an image and a text for the {few} part and at least "
            f"{FEWEST} are needed; give more pairs."
        )
    only = {text_of(sample) for sample in found.samples}
    if len(only) < 2:
        what = "class" if found.has_classes else "text"
        raise UserError(f"{data} has one {what} only, {only.pop()!r}, and nothing to tell apart; give at least two.")
