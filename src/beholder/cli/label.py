"""beholder label"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import Device, Json, Port, Threads


def label(
    photos: Path,
    *,
    out: Path,
    classes: str | None = None,
    model: Path | None = None,
    port: Port = 8001,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """A page on which pictures get classes, one key each; the table is what adapt --labels reads.

    Example: `beholder pick photos/ --count 100 --out todo.csv`, then `beholder label photos/ --out todo.csv`

    Parameters
    ----------
    photos
        A folder of images.
    out
        The table, a CSV: one that pick wrote, or begun earlier, is filled on; else one of all images is made. It is
        saved after every key.
    classes
        Names of classes, between commas; more can be added on the page.
    model
        A model that adapt made, whose guess is shown on demand.
    """
    from beholder.runtime.log import Log
    from beholder.types import UserError

    try:
        from beholder.recipes.label import label as run
    except ImportError as error:
        raise UserError(f"Labelling needs {error.name}; install it with: pip install 'beholder[serve]'") from error
    names = () if classes is None else tuple(classes.split(","))
    run(photos, out=out, classes=names, model=model, port=port, device=device, threads=threads, log=Log(as_json=json))
