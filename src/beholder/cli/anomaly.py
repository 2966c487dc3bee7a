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
    from beholder.cli.answers import gather, print_answers
    from beholder.data.decode import Limits
    from beholder.pretrained.load import load_own
    from beholder.runtime.device import pick_device
    from beholder.runtime.log import Log
    from beholder.tasks.anomaly import anomaly as run

    answers = run(load_own(model), gather(images), pick_device(device, threads), Limits(max_pixels=max_pixels))
    line = "{label}  distance {score:.2f} (threshold {threshold:.2f}, p = {p_value:.3f})"
    print_answers(answers, lambda one: line.format(label=one.label, score=one.score, **one.details), Log(as_json=json))
