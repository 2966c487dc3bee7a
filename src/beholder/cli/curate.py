"""beholder curate"""

from __future__ import annotations

from pathlib import Path

from beholder.runtime.log import Log


def curate(
    photos: Path,
    *,
    out: Path,
    labels: str | None = None,
    max_pixels: int = 100_000_000,
    threads: int | None = None,
    json: bool = False,
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
    max_pixels
        Larger images are quarantined before they are decoded.
    threads
        Decoding threads; all cores of this process if not given.
    json
        Print JSON lines for machines.
    """
    from beholder.recipes.curate import curate as run

    log = Log(as_json=json)
    counts = run(photos, out=out, labels=labels, max_pixels=max_pixels, threads=threads, log=log)
    log.result(counts, f"Lists     {out}")
