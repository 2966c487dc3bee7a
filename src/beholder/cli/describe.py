"""beholder describe"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from beholder.cli.options import (
    DEFAULT_PAIRS,
    Backend,
    Beams,
    Boxes,
    Device,
    Heat,
    Json,
    Language,
    MaxPixels,
    Names,
    PairsForNames,
    Pictures,
    Regions,
    Seed,
    Stop,
    Temperature,
    Threads,
    TopK,
    TopP,
)  # fmt: skip

if TYPE_CHECKING:
    from beholder.data.decode import Limits
    from beholder.runtime import device as devices
    from beholder.runtime.log import Log
    from beholder.tasks.embed import ImageInput
    from beholder.tasks.saying import Saying
    from beholder.tasks.talk import Talker


def describe(
    *images: Path,
    model: str = DEFAULT_PAIRS,
    candidates: Path | None = None,
    examples: Path | None = None,
    language: Language = None,
    regions: Regions = False,
    boxes: Boxes = None,
    names: Names = None,
    pairs: PairsForNames = None,
    out: Pictures = None,
    heat: Heat = None,
    count: int | None = None,
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
        How many candidates are told of each image; 5 if not given.
    """
    from beholder.cli.answers import gather
    from beholder.cli.regions import print_regions, refuse_unused
    from beholder.data.decode import Limits
    from beholder.runtime.device import pick_device
    from beholder.runtime.log import Log
    from beholder.tasks.saying import saying_of
    from beholder.types import UserError

    if count is not None and count < 1:
        raise UserError(f"--count {count}: at least one description is told; give a larger number.")
    saying = saying_of(beams, temperature, top_k, top_p, stop, seed)
    inputs, limits, log = gather(images), Limits(max_pixels=max_pixels), Log(as_json=json)
    are_regions = regions or (model == DEFAULT_PAIRS and candidates is None)
    refuse_unused(
        "--candidates" if candidates is not None and not regions else "--regions" if are_regions else "captions",
        {"--candidates": {"--candidates": candidates, "--count": count},
         "--regions": {"--regions": regions or None, "--boxes": boxes, "--names": names, "--out": out},
         "captions": {"--heat": heat, "--examples": examples, "--language": language}},
        has_captioner=model != DEFAULT_PAIRS,
    )  # fmt: skip
    if pairs is not None and names is None:
        raise UserError("--pairs is for --names; add it, or leave --pairs out.")
    if candidates is not None:
        _rank(inputs, model, candidates, count or 5, pick_device(device, threads), limits, log)
    elif are_regions:
        print_regions(
            inputs, model, log, are_asked=regions, boxes=boxes, names=names, pairs=pairs or DEFAULT_PAIRS, out=out,
            saying=saying, device=device, threads=threads, max_pixels=max_pixels,
        )  # fmt: skip
    else:
        talker = _open(model, device, threads, backend)
        _caption(talker, inputs, limits, saying, log, examples=examples, heat=heat, language=language)


def _rank(
    inputs: list[ImageInput], model: str, candidates: Path, count: int, device: devices.Device, limits: Limits, log: Log
) -> None:  # fmt: skip
    from beholder.cli.answers import print_answers, ranking_of
    from beholder.data.lines import read_lines
    from beholder.pretrained.load import load
    from beholder.tasks.describe import rank_descriptions
    from beholder.tasks.shared_space import open_space

    texts = read_lines(candidates, "--candidates")
    print_answers(rank_descriptions(open_space(load(model), device), inputs, texts, count, limits), ranking_of, log)


def _open(model: str, device: str, threads: int | None, backend: Backend) -> Talker:
    from beholder.pretrained.load import load
    from beholder.runtime.device import pick_device
    from beholder.tasks.talk import open_talker

    return open_talker(load(model), pick_device(device, threads), backend=backend)


def _caption(
    talker: Talker, inputs: list[ImageInput], limits: Limits, saying: Saying, log: Log, *,
    examples: Path | None, heat: Path | None, language: str | None,
) -> None:  # fmt: skip
    from beholder.cli.answers import print_answers, words_of
    from beholder.data.dialogues import read_examples
    from beholder.recipes.rows_of_pictures import with_pictures
    from beholder.tasks.grounding import ground_captions
    from beholder.tasks.talk import describe as run

    shots = read_examples(examples, limits) if examples is not None else []
    if heat is not None:
        grounded = ground_captions(talker, inputs, limits, saying, language)
        print_answers(with_pictures(grounded, heat, "--heat"), words_of, log)
        return
    answers = run(talker, inputs, limits, saying, shots, language)
    print_answers(answers, lambda one: one.label or "", log)
