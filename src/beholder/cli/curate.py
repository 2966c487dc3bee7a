"""beholder curate"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import Json, MaxPixels, Threads
from beholder.runtime.log import Log


def curate(
    photos: Path,
    *,
    out: Path,
    labels: str | None = None,
    max_pixels: MaxPixels = 100_000_000,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Set broken images aside with their reasons, and list duplicates, conflicting labels and odd images.

    Example: `beholder curate photos/ --out clean`

    No image is moved or changed: quarantine.jsonl, duplicates.jsonl, conflicts.jsonl, outliers.jsonl and kept.csv are
    written into the out folder. The same command resumes a run that was killed.

    Parameters
    ----------
    photos
        A folder of images in any common layout, or a table (CSV, parquet) that names them.
    out
        Folder for the lists.
    labels
        A table with a path and a label column, or "auto": to find duplicates with conflicting labels.
    """
    from beholder.recipes.curate import curate as run

    log = Log(as_json=json)
    counts = run(photos, out=out, labels=labels, max_pixels=max_pixels, threads=threads, log=log)
    log.result(counts, f"Lists     {out}")
