"""beholder classify"""

from __future__ import annotations

from pathlib import Path

from beholder.runtime.log import Log


def classify(
    model: Path,
    /,
    *images: Path,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    json: bool = False,
) -> None:
    """Which class each image belongs to, with a calibrated probability.

    Example: `beholder classify runs/first/model photos/cell0001.png`

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
    from beholder.tasks.classify import classify as run

    bundle, picked, limits = load(model), pick_device(device, threads), Limits(max_pixels=max_pixels)
    print_answers(
        images, lambda samples: run(bundle, samples, picked, limits), "{label}  {score:.1%}", Log(as_json=json)
    )
