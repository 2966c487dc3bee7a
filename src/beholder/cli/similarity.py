"""beholder similarity"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import DEFAULT_PAIRS, Device, Json, MaxPixels, Pairs, Threads


def similarity(
    image: Path,
    /,
    *texts: str,
    model: Pairs = DEFAULT_PAIRS,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """How well texts go with an image: the cosine of each, and its probability against the others.

    Example: `beholder similarity photo.png "a cat" "a dog" --model openai/clip-vit-base-patch32`

    Parameters
    ----------
    image
        An image file, or a folder of them.
    texts
        What to compare with; put each into quotation marks.
    """
    from beholder.cli.answers import gather, print_answers
    from beholder.data.decode import Limits
    from beholder.pretrained.load import load
    from beholder.runtime.device import pick_device
    from beholder.runtime.log import Log
    from beholder.tasks.shared_space import check_texts, open_space
    from beholder.tasks.similarity import similarity as run
    from beholder.types import Answer

    def line(answer: Answer) -> str:
        shares = answer.details["probabilities"]
        best = sorted(answer.details["similarities"].items(), key=lambda pair: -pair[1])
        return "".join(f"\n  {cosine:+.3f}  {shares[text]:6.1%}  {text}" for text, cosine in best)

    check_texts(texts)
    inputs, picked = gather([image]), pick_device(device, threads)
    space = open_space(load(model), picked)
    print_answers(run(space, inputs, texts, Limits(max_pixels=max_pixels)), line, Log(as_json=json))
