"""beholder answer"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import Backend, Beams, Device, Json, MaxPixels, Seed, Stop, Temperature, Threads, TopK, TopP


def answer(
    *inputs: str,
    model: str,
    choices: str | None = None,
    then: tuple[str, ...] = (),
    together: bool = False,
    beams: Beams = 3,
    temperature: Temperature = 0.0,
    top_k: TopK = None,
    top_p: TopP = None,
    stop: Stop = (),
    seed: Seed = 0,
    backend: Backend = "plain",
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
    then
        A further question about the same, with all before it in the model's sight; may be repeated.
    together
        One conversation about all the images, not one about each.
    choices
        The only answers that may be given, as yes,no; each is told with its probability among them.
    """
    from beholder.cli.answers import gather, print_answers
    from beholder.data.decode import Limits
    from beholder.pretrained.load import load
    from beholder.runtime.device import pick_device
    from beholder.runtime.log import Log
    from beholder.tasks import talk
    from beholder.tasks.saying import saying_of
    from beholder.types import Answer, UserError

    def told(one: Answer) -> str:
        shares = one.details.get("probabilities", {})
        return (one.label or "") + "".join(f"\n  {share:6.1%}  {choice}" for choice, share in shares.items())

    def turns(one: Answer) -> str:
        return "\n  ".join(str(turn["answer"]) for turn in one.details["turns"])

    if len(inputs) < 2:
        raise UserError('Name images and then the question: beholder answer photo.png "what is this?" --model runs/x')
    *images, question = inputs
    if question.strip() and Path(question).exists():
        raise UserError(f"{question} is a file; write the question after the images.")
    saying = saying_of(beams, temperature, top_k, top_p, stop, seed)
    listed = () if choices is None else tuple(choice.strip() for choice in choices.split(","))
    named = gather([Path(image) for image in images])
    talker = talk.open_talker(load(model), pick_device(device, threads), "answer", backend)
    limits, log = Limits(max_pixels=max_pixels), Log(as_json=json)
    if then or together:
        if choices is not None:
            raise UserError("--choices is for one question about each image; leave it out, or --then and --together.")
        found = talk.converse(talker, named, (question, *then), limits, saying, together=together)
        print_answers(found, turns, log)
        return
    print_answers(talk.answer(talker, named, question, limits, saying, listed), told, log)
