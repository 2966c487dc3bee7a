"""beholder answer"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import Device, Json, MaxPixels, Threads


def answer(
    *inputs: str,
    model: str,
    beams: int = 3,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """Answer a question about each image.

    Example: `beholder answer photo.png "how many chairs are there?" --model runs/answers`

    Parameters
    ----------
    inputs
        Image files, or folders of them, and then the question.
    model
        The run or model folder of beholder train describe, trained on questions and answers.
    beams
        Answers that are followed at once; 1 takes the likeliest word each time.
    """
    from beholder.cli.answers import gather, print_answers
    from beholder.data.decode import Limits
    from beholder.pretrained.load import load
    from beholder.runtime.device import pick_device
    from beholder.runtime.log import Log
    from beholder.tasks import talk
    from beholder.types import UserError

    if len(inputs) < 2:
        raise UserError('Name images and then the question: beholder answer photo.png "what is this?" --model runs/x')
    *images, question = inputs
    if Path(question).exists():
        raise UserError(f"{question} is a file; write the question after the images.")
    named = gather([Path(image) for image in images])
    talker = talk.open_talker(load(model), pick_device(device, threads), "answer")
    answers = talk.answer(talker, named, question, Limits(max_pixels=max_pixels), beams)
    print_answers(answers, lambda one: one.label or "", Log(as_json=json))
