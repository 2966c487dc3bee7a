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
from beholder.runtime.files import told_kindly, write_text
from beholder.runtime.log import Log
from beholder.types import UserError


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

    `kept.csv` names every readable image with its duplicate group, so that `adapt` or any other program can go on
    from it. Raises UserError when the folder cannot be used, or `out` is a file.
    """
    log, out = log or Log(quiet=True), Path(out)
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a folder.")
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
            num_workers=threads,
            log=log,
            quarantine_file=out / "quarantine.jsonl",
        )
        _write_lines(out / "duplicates.jsonl", map(asdict, curation.duplicates))
        _write_lines(out / "conflicts.jsonl", map(asdict, curation.conflicts))
        _write_lines(out / "outliers.jsonl", map(asdict, curation.outliers))
        _write_kept(out / "kept.csv", curation)
    for refused in curation.quarantine[:5]:
        log.stage("Broken", f"{refused.key}: {refused.reason}")
    counts = {
        "kept": len(curation.samples),
        "quarantined": len(curation.quarantine),
        "duplicate_groups": len(curation.duplicates),
        "conflicts": len(curation.conflicts),
        "outliers": len(curation.outliers),
    }
    log.stage("Curate", ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()))
    return counts


def _write_lines(path: Path, entries: Iterable[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries))


def _write_kept(path: Path, curation: Curation) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", "label", "duplicate_group"])
    for sample, cluster in zip(curation.samples, curation.cluster.tolist(), strict=True):
        table.writerow([sample.path or sample.key, sample.label or "", cluster])
    write_text(path, text.getvalue())
