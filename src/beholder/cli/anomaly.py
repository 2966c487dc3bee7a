"""beholder anomaly"""

from __future__ import annotations

from pathlib import Path

from beholder.runtime.log import Log


def anomaly(
    model: Path,
    /,
    *images: Path,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    json: bool = False,
) -> None:
    """Which images are unusual for their domain, judged from normal images alone.

    Example: `beholder anomaly runs/first/model photos/`

    Parameters
    ----------
    model
        A model folder, such as the one that adapt wrote.
    images
        Image files, or folders of them.
    device
        auto, cpu, cuda, cuda:N or mps.
    threads
        CPU threads; all cores of this process if not given.
    max_pixels
        Larger images are refused before they are decoded.
    json
        Print one JSON object an image.
    """
    from beholder.cli.answers import print_answers
    from beholder.data.decode import Limits
    from beholder.pretrained.load import load
    from beholder.runtime.device import pick_device
    from beholder.tasks.anomaly import anomaly as run

    bundle, picked, limits = load(model), pick_device(device, threads), Limits(max_pixels=max_pixels)
    print_answers(
        images,
        lambda samples: run(bundle, samples, picked, limits),
        "{label}  distance {score:.2f} (threshold {threshold:.2f}, p = {p_value:.3f})",
        Log(as_json=json),
    )
