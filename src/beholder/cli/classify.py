"""beholder classify"""

from __future__ import annotations

from pathlib import Path

from beholder.runtime.log import Log


def classify(model: Path, /, *images: Path, device: str = "auto", json: bool = False) -> None:
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
    json
        Print one JSON object an image.
    """
    from beholder.cli.answers import print_answers
    from beholder.pretrained.load import load
    from beholder.runtime.device import pick_device
    from beholder.tasks.classify import classify as run

    bundle = load(model)
    print_answers(
        images, lambda samples: run(bundle, samples, pick_device(device)), "{label}  {score:.1%}", Log(as_json=json)
    )
