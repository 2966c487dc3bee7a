"""beholder describe"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import DEFAULT_PAIRS, Device, Json, MaxPixels, Pairs, Threads


def describe(
    *images: Path,
    model: Pairs = DEFAULT_PAIRS,
    candidates: Path | None = None,
    examples: Path | None = None,
    count: int = 5,
    beams: int = 3,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    json: Json = False,
) -> None:
    """A caption of each image, or which of your descriptions fits it best.

    Example: `beholder describe photo.png --model runs/describe`

    Parameters
    ----------
    images
        Image files, or folders of them.
    model
        The run or model folder of beholder train describe, which writes captions; to rank candidates, a model of images
        and texts, or embedded.
    candidates
        A text file with one description a line, to be ranked.
    examples
        A table of images with captions that the model reads first, and in whose manner it then speaks.
    count
        How many candidates are told of each image.
    beams
        Captions that are followed at once; 1 takes the likeliest word each time.
    """
    from beholder.cli.answers import gather, print_answers
    from beholder.data.decode import Limits
    from beholder.data.dialogues import read_examples
    from beholder.data.lines import read_lines
    from beholder.pretrained.load import load
    from beholder.runtime.device import pick_device
    from beholder.runtime.log import Log
    from beholder.tasks import talk
    from beholder.tasks.describe import rank_descriptions
    from beholder.tasks.shared_space import open_space
    from beholder.types import Answer, UserError

    def ranked(answer: Answer) -> str:
        ranking = answer.details["ranking"]
        return "".join(f"\n  {one['similarity']:+.3f}  {one['probability']:6.1%}  {one['text']}" for one in ranking)

    inputs, limits, log = gather(images), Limits(max_pixels=max_pixels), Log(as_json=json)
    if candidates is not None:
        texts = read_lines(candidates, "--candidates")
        space = open_space(load(model), pick_device(device, threads))
        print_answers(rank_descriptions(space, inputs, texts, count, limits), ranked, log)
        return
    if model == DEFAULT_PAIRS:
        raise UserError(
            f"{DEFAULT_PAIRS} writes no captions; train a model that does, beholder train describe --data PHOTOS --out "
            "runs/describe, and name it by --model; or give descriptions to be ranked by --candidates FILE."
        )
    shots = read_examples(examples, limits) if examples is not None else []
    talker = talk.open_talker(load(model), pick_device(device, threads))
    print_answers(talk.describe(talker, inputs, limits, beams, shots), lambda one: one.label or "", log)
