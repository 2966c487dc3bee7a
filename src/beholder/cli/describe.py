"""beholder describe"""

from __future__ import annotations

from pathlib import Path

from beholder.cli.options import (
    DEFAULT_PAIRS,
    Backend,
    Beams,
    Boxes,
    Device,
    Heat,
    Json,
    MaxPixels,
    Names,
    Pairs,
    Pictures,
    Regions,
    Seed,
    Stop,
    Temperature,
    Threads,
    TopK,
    TopP,
)  # fmt: skip


def describe(
    *images: Path,
    model: str = DEFAULT_PAIRS,
    candidates: Path | None = None,
    examples: Path | None = None,
    regions: Regions = False,
    boxes: Boxes = None,
    names: Names = None,
    pairs: Pairs = DEFAULT_PAIRS,
    out: Pictures = None,
    heat: Heat = None,
    count: int = 5,
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
    """A caption of each image; what is in its parts, joined to one text; or which of your descriptions fits best.

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
    """
    from beholder.cli.answers import gather, print_answers, ranking_of, words_of
    from beholder.cli.regions import WITHOUT_A_CAPTIONER, answer_of, lines_of, refuse_unused
    from beholder.data.decode import Limits
    from beholder.data.dialogues import read_examples
    from beholder.data.lines import read_lines
    from beholder.pretrained.load import load
    from beholder.recipes.describe.chain import describe_by_regions
    from beholder.recipes.rows_of_pictures import with_pictures
    from beholder.runtime.device import pick_device
    from beholder.runtime.log import Log
    from beholder.tasks import talk
    from beholder.tasks.describe import rank_descriptions
    from beholder.tasks.grounding import ground_captions
    from beholder.tasks.shared_space import open_space

    saying = talk.saying_of(beams, temperature, top_k, top_p, stop, seed)
    inputs, limits, log = gather(images), Limits(max_pixels=max_pixels), Log(as_json=json)
    if candidates is not None:
        texts = read_lines(candidates, "--candidates")
        space = open_space(load(model), pick_device(device, threads))
        print_answers(rank_descriptions(space, inputs, texts, count, limits), ranking_of, log)
        return
    if regions or model == DEFAULT_PAIRS:
        if model == DEFAULT_PAIRS:
            log.warn(WITHOUT_A_CAPTIONER)
        found = describe_by_regions(
            inputs, model, boxes=boxes, names=names, pairs=pairs, out=out, saying=saying, device=device,
            threads=threads, max_pixels=max_pixels,
        )  # fmt: skip
        print_answers(map(answer_of, found), lines_of, log)
        return
    refuse_unused(boxes, names, out)
    shots = read_examples(examples, limits) if examples is not None else []
    talker = talk.open_talker(load(model), pick_device(device, threads), backend=backend)
    if heat is not None:
        print_answers(with_pictures(ground_captions(talker, inputs, limits, saying), heat, "--heat"), words_of, log)
        return
    print_answers(talk.describe(talker, inputs, limits, saying, shots), lambda one: one.label or "", log)
