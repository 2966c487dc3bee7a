"""From a source to the samples worth learning from: what is broken is set aside with its reason, what is double is
marked, what is odd is shown. Nothing vanishes in silence."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int

from beholder.data.decode import Limits
from beholder.data.duplicates import find_duplicates
from beholder.data.listing import Refused
from beholder.data.quality import Outlier, find_outliers
from beholder.data.sources import Source
from beholder.data.survey import Survey, survey
from beholder.runtime.device import usable_cores
from beholder.runtime.files import told_kindly, write_text
from beholder.runtime.log import Log
from beholder.types import Sample, UserError

_GREYISH = 2
"""So far may blue and red differences lie from grey, by rounding."""


@dataclass(frozen=True)
class DuplicateGroup:
    """Keys of one picture that is there several times."""

    kind: str
    """"exact": equal pixels (JPEGs: at the reduced scale they are looked at); "near": equal but for encoding, size,
    brightness or contrast."""
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Conflict:
    """One picture under several labels; `labels` are those of `keys`, in the same order."""

    keys: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Curation:
    """The outcome of `curate`."""

    samples: tuple[Sample, ...]
    """Readable ones, duplicates included, in the source's order."""
    quarantine: tuple[Refused, ...]
    duplicates: tuple[DuplicateGroup, ...]
    conflicts: tuple[Conflict, ...]
    outliers: tuple[Outlier, ...]
    quality: Float32[np.ndarray, "n 6"]
    """MEASURES of quality.py, per kept sample."""
    cluster: Int[np.ndarray, " n"]
    """Per kept sample, the number of its duplicate group; a sample without a double has a number of its own."""
    notes: tuple[str, ...]
    """Sentences for the user, such as that all images are one picture."""
    is_grey: Bool[np.ndarray, " n"]
    """Per kept sample, whether it has no colour."""


def curate(
    source: Source,
    folder: Path,
    *,
    limits: Limits | None = None,
    num_workers: int | None = None,
    log: Log | None = None,
    max_refused_share: float = 0.5,
    quarantine_file: Path | None = None,
) -> Curation:
    """Look at every sample once and tell the good from the broken, the double and the odd.

    `folder` keeps what was seen, so that a rerun goes on where a killed one stopped, with the same result.
    `quarantine_file` (default: quarantine.jsonl in `folder`) gets one line per refused input.
    Raises UserError when more than `max_refused_share` of the inputs are refused, or all.
    """
    log, limits = log or Log(quiet=True), limits or Limits()
    with told_kindly(folder):
        folder.mkdir(parents=True, exist_ok=True)
        seen = survey(source.samples, folder, limits=limits, num_workers=num_workers or usable_cores(), log=log)
        undecodable = (
            Refused(source.samples[row].key, str(seen.reasons[row])) for row in np.flatnonzero(~seen.readable)
        )
        quarantine = (*source.refused, *undecodable)
        quarantine_file = quarantine_file or folder / "quarantine.jsonl"
        write_quarantine(quarantine_file, quarantine)
    _refuse_a_broken_set(source, quarantine, max_refused_share, quarantine_file)
    kept = np.flatnonzero(seen.readable)
    samples = tuple(source.samples[row] for row in kept)
    cluster = _clusters(seen, kept)
    groups = [members for members in _members(cluster) if len(members) > 1]
    notes = []
    if len(samples) > 1 and cluster.max() == 0:
        notes.append(f"all {len(samples):,} images are the same picture; there is nothing to tell apart")
    for note in notes:
        log.warn(note)
    return Curation(
        samples=samples,
        quarantine=quarantine,
        duplicates=tuple(_describe(samples, members, seen.hashes[kept[members]]) for members in groups),
        conflicts=tuple(_conflicts(samples, groups)),
        outliers=tuple(find_outliers([sample.key for sample in samples], seen.quality[kept])),
        quality=seen.quality[kept],
        cluster=cluster,
        notes=tuple(notes),
        is_grey=np.all(np.abs(seen.tints[kept].astype(np.int16) - 128) <= _GREYISH, axis=(1, 2, 3)),
    )


def write_quarantine(path: Path, quarantine: Sequence[Refused]) -> None:
    """One JSON line per refused input: its key and the reason. Written whole; empty when nothing was refused."""
    lines = (json.dumps({"key": refused.key, "reason": refused.reason}, ensure_ascii=False) for refused in quarantine)
    write_text(path, "".join(f"{line}\n" for line in lines))


def _refuse_a_broken_set(
    source: Source, quarantine: Sequence[Refused], max_refused_share: float, quarantine_file: Path
) -> None:
    num_inputs = len(source.samples) + len(source.refused)
    if not source.samples or len(quarantine) == num_inputs or len(quarantine) > max_refused_share * num_inputs:
        reasons = Counter(refused.reason for refused in quarantine).most_common(1)
        example = f", most often: {reasons[0][0]}" if reasons else ""
        raise UserError(
            f"{len(quarantine):,} of {num_inputs:,} inputs in {source.folder} cannot be used{example} (more than the "
            f"{max_refused_share:.0%} that are put up with); see {quarantine_file} and mend or remove them."
        )


def _clusters(seen: Survey, kept: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    sides = seen.quality[kept, 3:5].min(1).astype(np.int64)  # of width and height
    return find_duplicates(seen.hashes[kept], seen.fingerprints[kept], seen.tints[kept], sides)


def _members(cluster: Int[np.ndarray, " n"]) -> list[Int[np.ndarray, " m"]]:
    order = np.argsort(cluster, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1)


def _describe(samples: Sequence[Sample], members: np.ndarray, hashes: np.ndarray) -> DuplicateGroup:
    is_exact = bool((hashes == hashes[0]).all())
    return DuplicateGroup("exact" if is_exact else "near", tuple(samples[index].key for index in members))


def _conflicts(samples: Sequence[Sample], groups: Sequence[np.ndarray]) -> Iterator[Conflict]:
    for members in groups:
        labelled = [(samples[index].key, label) for index in members if (label := samples[index].label) is not None]
        if len({label for _, label in labelled}) > 1:
            yield Conflict(tuple(key for key, _ in labelled), tuple(label for _, label in labelled))
