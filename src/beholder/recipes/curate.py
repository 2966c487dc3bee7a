"""`curate`: lists of what is broken, double, contradictory or odd in a folder; the images stay as they are."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from beholder.data.curate import Curation
from beholder.data.curate import curate as curate_source
from beholder.data.decode import Limits
from beholder.data.sources import read_source
from beholder.runtime.device import count_threads
from beholder.runtime.files import refuse_inside, told_kindly, write_text
from beholder.runtime.log import Log, counted
from beholder.types import Sample, UserError

_MOST_BROKEN_TOLD = 5
_LISTS = {"quarantine.jsonl", "duplicates.jsonl", "conflicts.jsonl", "outliers.jsonl", "kept.csv", "survey"}
"""All that is written into the out folder."""


def curate(
    photos: str | Path,
    *,
    out: str | Path,
    labels: str | Path | None = None,
    max_pixels: int = 100_000_000,
    threads: int | None = None,
    log: Log | None = None,
) -> dict[str, Any]:
    """Write the lists into `out` and return their lengths.

    `kept.csv` names every readable image by its absolute path, with its duplicate group, so that `adapt` or any other
    program can go on from it, from anywhere. Raises UserError when the folder cannot be used, or `out` is a file or
    lies among the photos.
    """
    log, out = log or Log(quiet=True), Path(out)
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a folder.")
    refuse_inside(out, Path(photos))
    _refuse_foreign(out)
    num_workers = count_threads(threads)
    source = read_source(Path(photos), labels=labels)
    log.stage("Read", source.description)
    for note in source.notes:
        log.warn(note)
    with told_kindly(out):
        out.mkdir(parents=True, exist_ok=True)
        curation = curate_source(
            source,
            out / "survey",
            limits=Limits(max_pixels=max_pixels),
            num_workers=num_workers,
            log=log,
            quarantine_file=out / "quarantine.jsonl",
        )
        _write_lines(out / "duplicates.jsonl", map(asdict, curation.duplicates))
        _write_lines(out / "conflicts.jsonl", map(asdict, curation.conflicts))
        _write_lines(out / "outliers.jsonl", map(asdict, curation.outliers))
        _write_kept(out / "kept.csv", curation)
    _tell_broken(log, curation, out)
    counts = {
        "kept": len(curation.samples),
        "quarantined": len(curation.quarantine),
        "duplicate_groups": len(curation.duplicates),
        "conflicts": len(curation.conflicts),
        "outliers": len(curation.outliers),
    }
    log.stage("Curate", _sentence(counts))
    return counts


def _refuse_foreign(out: Path) -> None:
    """Raise UserError where other things than this verb's lists lie: a run's quarantine would be written over."""
    foreign = sorted({path.name for path in out.iterdir()} - _LISTS) if out.is_dir() else []
    if foreign:
        raise UserError(f"--out {out} holds other files, such as {foreign[0]}; choose a new folder for the lists.")


def _tell_broken(log: Log, curation: Curation, out: Path) -> None:
    for refused in curation.quarantine[:_MOST_BROKEN_TOLD]:
        log.stage("Broken", f"{refused.key}: {refused.reason}")
    more = len(curation.quarantine) - _MOST_BROKEN_TOLD
    if more > 0:
        log.stage("Broken", f"and {more:,} more, see {out / 'quarantine.jsonl'}")


def _sentence(counts: dict[str, int]) -> str:
    nouns = {"duplicate_groups": "duplicate group", "conflicts": "conflict", "outliers": "outlier"}
    parts = [f"{counts[name]:,} {name}" for name in ("kept", "quarantined")]
    return ", ".join(parts + [counted(counts[name], noun) for name, noun in nouns.items()])


def _write_lines(path: Path, entries: Iterable[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries))


def _write_kept(path: Path, curation: Curation) -> None:
    """The split and the groups that the source gave travel along; their columns are there where it gave any."""
    samples, text = curation.samples, io.StringIO()
    given = [name for name in ("split", "group") if any(getattr(sample, name) for sample in samples)]
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", "label", "duplicate_group", *given])
    for sample, cluster in zip(samples, curation.cluster.tolist(), strict=True):
        table.writerow([_place(sample), sample.label or "", cluster, *(getattr(sample, name) or "" for name in given)])
    write_text(path, text.getvalue())


def _place(sample: Sample) -> str:
    """The absolute path; the key where there is none (bytes in a table) or where UTF-8 cannot write it."""
    if sample.path is None:
        return sample.key
    path = str(sample.path.absolute())
    try:
        path.encode()
    except UnicodeEncodeError:
        return sample.key
    return path
