"""beholder describe"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import DEFAULT_PAIRS, Device, Json, MaxPixels, Pairs, Threads


def describe(
    *images: Path,
    candidates: Path,
    model: Pairs = DEFAULT_PAIRS,
    count: int = 5,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Which of your descriptions fit each image best.

    Example: `beholder describe photo.png --candidates descriptions.txt`

    Parameters
    ----------
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
