"""beholder describe"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import Device, Json, MaxPixels, Threads


def describe(
    model: str,
    /,
    *images: Path,
    candidates: Path,
    count: int = 5,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Which of your descriptions fit each image best.

    Example: `beholder describe openai/clip-vit-base-patch32 photo.png --candidates descriptions.txt`

    Parameters
    ----------
    model
        A model that reads images and texts: its folder, or its name on the Hugging Face hub.
    images
        Image files, or folders of them.
    candidates
        A text file with one description a line.
    count
        How many are told of each image.
    """
    from beholder.cli.answers import gather, print_answers
    from beholder.data.decode import Limits
    from beholder.data.lines import read_lines
    from beholder.pretrained.load import load
    from beholder.runtime.device import pick_device
    from beholder.runtime.log import Log
    from beholder.tasks.describe import rank_descriptions
    from beholder.tasks.shared_space import open_space
    from beholder.types import Answer

    def line(answer: Answer) -> str:
        ranking = answer.details["ranking"]
        return "".join(f"\n  {one['similarity']:+.3f}  {one['probability']:6.1%}  {one['text']}" for one in ranking)

    inputs, texts = gather(images), read_lines(candidates, "--candidates")
    space = open_space(load(model), pick_device(device, threads))
    print_answers(
        rank_descriptions(space, inputs, texts, count, Limits(max_pixels=max_pixels)), line, Log(as_json=json)
    )
