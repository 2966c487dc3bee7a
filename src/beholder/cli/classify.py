"""beholder classify"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from beholder.cli.options import DEFAULT_PAIRS, Device, Json, MaxPixels, Threads


def classify(
    *inputs: str,
    labels: str | None = None,
    model: str | None = None,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Which class each image belongs to, with a probability.

    Example: `beholder classify runs/first/model photos/cell0001.png`, or without training
    `beholder classify photo.png --labels "cat,dog,bird"`

    Parameters
    ----------
    inputs
        A model folder, such as the one that adapt wrote, then image files, or folders of them. With --labels the model
        may be left out.
    labels
        Names of classes with commas between them, for a model that reads texts and was taught no classes.
    model
        The model, where it is not the first input: its folder, or its name on the Hugging Face hub. With --labels the
        embedded one if none is named, which needs beholder[text].
    """
    from beholder.cli.answers import gather, print_answers
    from beholder.data.decode import Limits
    from beholder.pretrained.load import load, load_own
    from beholder.runtime.device import pick_device
    from beholder.runtime.log import Log
    from beholder.tasks.classify import classify as by_head
    from beholder.tasks.shared_space import open_space
    from beholder.tasks.similarity import classify_by_name

    if model is None:
        model, inputs = split_model(inputs, may_be_left_out=labels is not None)
    images, picked, limits = gather([Path(one) for one in inputs]), pick_device(device, threads), Limits(max_pixels)
    if labels is None:
        answers = by_head(load_own(model), images, picked, limits)
    else:
        answers = classify_by_name(open_space(load(model), picked), images, labels.split(","), limits=limits)
    print_answers(answers, lambda one: f"{one.label}  {one.score:.1%}", Log(as_json=json))


def split_model(inputs: Sequence[str], *, may_be_left_out: bool) -> tuple[str, tuple[str, ...]]:
    """The model, and the images after it. Where it may be left out, the first of several inputs is a model when it is
    the folder of one, or no file or folder at all: then it is a name."""
    from PIL import Image

    from beholder.types import UserError

    if not inputs:
        raise UserError("No image was named; give image files or folders.")
    first = Path(inputs[0])
    if len(inputs) == 1 and not may_be_left_out and first.is_file():
        raise UserError(f"{first} is an image, and no model was named; put its folder first, or give --labels.")
    is_folder_of_model = any((first / inner / "config.json").is_file() for inner in (".", "model"))
    is_misspelt_image = first.suffix.lower() in Image.registered_extensions()
    is_name = len(inputs) > 1 and not first.exists() and not is_misspelt_image
    if may_be_left_out and not is_folder_of_model and not is_name:
        return DEFAULT_PAIRS, tuple(inputs)
    return inputs[0], tuple(inputs[1:])
