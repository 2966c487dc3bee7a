"""beholder pick"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import Device, Json, MaxPixels, Seed, Threads
from beholder.runtime.log import Log, counted


def pick(
    photos: Path,
    *,
    count: int,
    out: Path,
    labels: str | None = None,
    model: Path | None = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Which images to label first: a table with an empty label column, one line an image.

    Example: `beholder pick photos/ --count 100 --out todo.csv`; fill in the labels, then
    `beholder adapt photos/ --labels todo.csv --out runs/first`

    Parameters
    ----------
    photos
        A folder of images in any common layout, or a table (CSV, parquet) that names them.
    count
        How many images to pick.
    out
        The table to write; an existing file is refused.
    labels
        A table of labels you already have, or "auto" for those that the layout carries: those images are not picked
        again, and images like them come last.
    model
        A model folder whose features are used; the generic ones if not given.
    """
    from beholder.recipes.pick import pick as run

    log = Log(as_json=json)
    picked = run(
        photos, count=count, out=out, labels=labels, model=model, seed=seed, device=device, threads=threads,
        max_pixels=max_pixels, log=log,
    )  # fmt: skip
    log.result({"picked": picked}, f"Picked    {counted(len(picked), 'image')}: {out}")
