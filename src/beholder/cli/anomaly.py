"""beholder anomaly"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import Device, Json, MaxPixels, Threads


def anomaly(
    model: Path,
    /,
    *images: Path,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Which images are unusual for their domain, judged from normal images alone.

    Example: `beholder anomaly runs/first/model photos/`

    Parameters
    ----------
    model
        A model folder, such as the one that adapt wrote.
    images
        Image files, or folders of them.
    """
    from beholder.cli.answers import print_answers
    from beholder.tasks.anomaly import anomaly as run

    line = "{label}  distance {score:.2f} (threshold {threshold:.2f}, p = {p_value:.3f})"
    print_answers(run, model, images, line, device=device, threads=threads, max_pixels=max_pixels, json=json)
