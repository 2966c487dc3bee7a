"""beholder classify"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import Device, Json, MaxPixels, Threads


def classify(
    model: str,
    /,
    *images: Path,
    labels: str | None = None,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Which class each image belongs to, with a probability.

    Example: `beholder classify runs/first/model photos/cell0001.png`, or
    `beholder classify openai/clip-vit-base-patch32 photo.png --labels "cat,dog,bird"`

    Parameters
    ----------
    model
        A model folder, such as the one that adapt wrote; with --labels a model that reads texts.
    images
        Image files, or folders of them.
    labels
        Names of classes with commas between them, for a model that reads texts and was taught no classes.
    """
    from beholder.cli.answers import gather, print_answers
    from beholder.data.decode import Limits
    from beholder.pretrained.load import load, load_own
    from beholder.runtime.device import pick_device
    from beholder.runtime.log import Log
    from beholder.tasks.classify import classify as by_head
    from beholder.tasks.shared_space import open_space
    from beholder.tasks.similarity import classify_by_name

    inputs, picked, limits = gather(images), pick_device(device, threads), Limits(max_pixels=max_pixels)
    if labels is None:
        answers = by_head(load_own(model), inputs, picked, limits)
    else:
        answers = classify_by_name(open_space(load(model), picked), inputs, labels.split(","), limits=limits)
    print_answers(answers, lambda one: f"{one.label}  {one.score:.1%}", Log(as_json=json))
