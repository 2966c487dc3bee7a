"""beholder classify"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import Device, Json, MaxPixels, Threads


def classify(
    model: Path,
    /,
    *images: Path,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Which class each image belongs to, with a calibrated probability.

    Example: `beholder classify runs/first/model photos/cell0001.png`

    Parameters
    ----------
    model
        A model folder, such as the one that adapt wrote.
    images
        Image files, or folders of them.
    """
    from beholder.cli.answers import print_answers
    from beholder.tasks.classify import classify as run

    line = "{label}  {score:.1%}"
    print_answers(run, model, images, line, device=device, threads=threads, max_pixels=max_pixels, json=json)
