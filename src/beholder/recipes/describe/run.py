"""`train_describe`: images into words, on one's own captions, questions or conversations, by linear fusion (LLaVA: Liu
et al. 2023, arXiv 2304.08485) or gated (Flamingo: Alayrac et al. 2022, arXiv 2204.14198).

    beholder train describe --data pairs/ --out runs/describe

Hardware: any CPU for a language model of one's own; a GPU for a large named one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from beholder.config import from_json, to_json
from beholder.data.decode import Limits
from beholder.data.dialogues import languages_of
from beholder.metrics.captions import need_libraries
from beholder.metrics.things import read_things
from beholder.models.describer import Describer
from beholder.models.gpt import GPT
from beholder.models.seen import SeenTokens
from beholder.pretrained.embedded import DEFAULT_PAIRS
from beholder.recipes.budget import parse_budget
from beholder.recipes.describe.fit import fit, learn_language, steps_for, stream_of
from beholder.recipes.describe.joining import Regions
from beholder.recipes.describe.judge import judge, say_all
from beholder.recipes.describe.judge_regions import judge_regions
from beholder.recipes.describe.look import look_once
from beholder.recipes.describe.material import fitting, gather
from beholder.recipes.describe.parts import (
    OWN,
    Language,
    build_speaker,
    choose_what_learns,
    open_language,
    open_vision,
    rates_of,
)  # fmt: skip
from beholder.recipes.describe.seeing import learn_to_see
from beholder.recipes.describe.settings import DescribeTraining, check
from beholder.recipes.describe.stream import DialogueStream
from beholder.recipes.describe.tell import Finished, tell
from beholder.recipes.sitting import Sitting
from beholder.runtime.device import pick_device
from beholder.runtime.files import refuse_inside
from beholder.runtime.log import Log, counted, duration
from beholder.runtime.run_folder import RunFolder
from beholder.tasks.talk import Talker
from beholder.tokenizers.chat import chat_of
from beholder.tokenizers.dialogues import DialogueRows
from beholder.train.pace import Timed
from beholder.trunk.lowrank import merge_low_rank
from beholder.types import UserError

_CAN = {"captions": ("describe",), "questions": ("answer",), "conversations": ("describe", "answer")}
"""By the kind of the data."""


def train_describe(
    data: str | Path,
    *,
    out: str | Path,
    vision: str = DEFAULT_PAIRS,
    language: str = OWN,
    spoken: str | None = None,
    things: str | Path | None = None,
    settings: DescribeTraining | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    log: Log | None = None,
) -> dict[str, Any]:
    """Train a model that puts the folder's images into words, judge it on images that are held out, and write the run
    folder `out` with its `model/` and `report.html`; an unfinished run there goes on. Gives what stands in
    `results.json`.

    `data`: images with captions, questions and answers, or conversations, as `read_dialogues` reads them; `spoken`
    chooses columns of that language. `vision` and `language` name the two sides: "embedded" and "own", or what `load`
    opens; a named language model stays as it is, or is tuned as the settings say. `things` is a list of what captions
    name (`read_things`). Raises UserError for what cannot work.
    """
    settings = from_json(DescribeTraining, to_json(settings or DescribeTraining()))
    check(settings)
    parse_budget(settings.budget, needed=True)
    if settings.regions and len(languages_of(spoken)) > 1:
        raise UserError(f"--regions --spoken {spoken}: phrases are learned in one language; name one of them.")
    if settings.tuning != "frozen" and language == OWN:
        raise UserError(
            f"--tuning {settings.tuning} is for a named language model (your own is trained anyway); name one by "
            "--language, or leave --tuning out."
        )
    log, data, out = log or Log(quiet=True), Path(data), Path(out)
    if data.is_dir():
        refuse_inside(out, data)
    asked = {"recipe": "train_describe", "data": str(data), "vision": vision, "language": language, "spoken": spoken}
    asked["things"] = None if things is None else str(things)
    asked |= {**to_json(settings), "seed": seed}
    with RunFolder.open(out, asked, log) as run:
        limits, picked = Limits(max_pixels=max_pixels), pick_device(device, threads)
        sitting = Sitting(data, settings, seed, run, picked, limits, log)
        return _run(sitting, asked)


def _run(sitting: Sitting[DescribeTraining], asked: dict[str, Any]) -> dict[str, Any]:
    settings, run, log, device = sitting.settings, sitting.run, sitting.log, sitting.device
    eye = open_vision(asked["vision"], settings.side)
    things = read_things(None if asked["things"] is None else Path(asked["things"]))
    with run.charged("reading"):
        material = gather(sitting, asked["spoken"])
    if material.kind == "captions":
        need_libraries()
    tongue = open_language(asked["language"], settings, material.texts)
    log.stage(
        "Words",
        f"{counted(tongue.words.size, 'token')}, "
        + ("learned from what is said" if tongue.model is None else f"of {asked['language']}"),
    )
    with run.charged("looking"):
        seen = look_once(sitting, material, eye.tokens, eye.pixels)
    places = eye.tokens.num_tokens if settings.fusion == "linear" else 1
    longest = tongue.config.num_positions or tongue.config.context_length
    rows = DialogueRows(tongue.words, places, tongue.config.vocabulary_size, longest, chat_of(tongue.words))
    material, num_long = fitting(material, rows)
    if num_long:
        log.warn(f"left out, since longer than the {longest:,} tokens that the model reads: {num_long:,}")
    if settings.vision_tuning != "frozen":
        eye = learn_to_see(sitting, material, eye, tongue, rows, seen)
        with run.charged("looking"):
            seen = look_once(sitting, material, eye.tokens, eye.pixels, "seen anew")
    regions = Regions.begin(sitting, material, seen, eye, things) if settings.regions else None
    seen = seen if regions is None else regions.seen
    lessons = (*material.asked["train"], *(() if regions is None else regions.phrases))
    stream = stream_of(sitting, lessons, seen, rows)
    timed = Timed(**run.resolve("timed", lambda: to_json(_pace(sitting, eye.tokens, tongue, stream))))
    num_language = 0 if tongue.model is not None else round(settings.language_share * timed.steps)
    log.stage("Estimate", f"{_estimate(settings, timed, num_language)}, on {device.reason}")
    spoken = learn_language(sitting, material, tongue, rows, num_language)
    speaker = build_speaker(settings, eye.tokens, tongue, spoken, sitting.seed)
    learned = sorted({row for one in material.asked["train"] for row in one.images})
    speaker.measure(torch.from_numpy(seen.table[learned, 0]))
    if tongue.model is not None:
        choose_what_learns(speaker, settings)
    rates = rates_of(tongue, settings)
    story = fit(sitting, material.asked["validation"], speaker, stream, timed.steps, rates)
    model = Describer(eye.tokens, speaker, None if regions is None else regions.names).to(device.torch_device).eval()
    can = (*_CAN[material.kind], *(() if regions is None else ("regions",)))
    talker = Talker(model, eye.pixels, tongue.words, device, can, languages_of(asked["spoken"]))
    if regions is not None:
        story["joining"] = regions.learn_to_join(sitting, material, talker, rows, timed.steps, rates)
    merge_low_rank(speaker).requires_grad_(False)
    with run.charged("judging"):
        said = say_all(sitting, material, seen, talker)
        if regions is not None:
            said = replace(said, by=said.by | regions.say(sitting, said.asked, talker))
        questions = [one.last.question for one in said.asked]
        judged = run.stage(
            "judged", lambda: judge(material.kind, questions, said.by, said.references, sitting.seed, things)
        )
        if regions is not None:
            judged["regions"] = judge_regions(said.by, said.references, things, sitting.seed)
    return tell(sitting, asked, Finished(material, talker, eye.is_embedded, story, judged, said, timed))


def _estimate(settings: DescribeTraining, timed: Timed, num_language: int) -> str:
    before = f", after {num_language:,} of the language alone" if num_language else ""
    behind = f", and then {round(settings.joining_share * timed.steps):,} of joining" if settings.regions else ""
    return (
        f"{timed.steps:,} steps of {timed.seconds_per_step:.2f} s, {duration(timed.seconds)}{before}{behind}; judging "
        "comes on top"
    )


def _pace(sitting: Sitting[DescribeTraining], vision: SeenTokens, tongue: Language, stream: DialogueStream) -> Timed:
    spoken = tongue.model or GPT(tongue.config)
    speaker = build_speaker(sitting.settings, vision, tongue, spoken, sitting.seed)
    if tongue.model is not None:
        choose_what_learns(speaker, sitting.settings)
    return steps_for(sitting, speaker, stream)
