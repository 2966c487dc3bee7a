"""`scale_law`: whether the loss of models of visual sentences falls by a law as they grow (Bai et al. 2023, arXiv
2312.00785; Kaplan et al. 2020, arXiv 2001.08361).

    beholder scale-law --data photos/ --tokenizer runs/tok --out runs/law

Hardware: any CPU for the usual sizes with pictures of 64 codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from beholder.config import from_json, to_json
from beholder.objectives.next_token import NextToken
from beholder.pretrained.part_folder import Part
from beholder.recipes.budget import Budget, parse_budget
from beholder.recipes.code_training import begin_with_codes, fit_stage, plan_for
from beholder.recipes.lvm.codes import encode_all
from beholder.recipes.lvm.material import gather
from beholder.recipes.lvm.settings import LVMTraining, check_length, parse_tasks
from beholder.recipes.lvm.stream import SentenceStream
from beholder.recipes.over_codes import sit_over_codes
from beholder.recipes.scale_law.held_out import HeldOut
from beholder.recipes.scale_law.members import Member, members_of
from beholder.recipes.scale_law.once import count_sentences
from beholder.recipes.scale_law.settings import SIZES, ScaleLaw, check, check_memory
from beholder.recipes.scale_law.tell import Finished, tell
from beholder.recipes.sitting import Sitting
from beholder.runtime.device import whole_memory
from beholder.runtime.energy import Stopwatch
from beholder.runtime.log import Log, duration, size
from beholder.runtime.memory import told_of_memory
from beholder.runtime.seed import derive
from beholder.tasks.picture_codes import PictureCodes
from beholder.tasks.visual_sentences import VisualSentences
from beholder.tokenizers.sentences import SentenceConfig
from beholder.train.loop import Plan
from beholder.train.pace import seconds_per_step

_NUM_TIMED = 3


def scale_law(
    data: str | Path,
    *,
    tokenizer: str | Path,
    out: str | Path,
    sizes: Sequence[str] | None = None,
    tasks: str | Sequence[str] | None = None,
    group: str | None = None,
    budget: str = "20m",
    pictures: int = 8,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    log: Log | None = None,
) -> dict[str, Any]:
    """Train models of visual sentences of growing size on the same sentences, each read once; fit the law of their
    held-out losses without the largest and ask it for the largest. Writes the run folder `out` with `report.html`; an
    unfinished run there goes on, size by size. Gives what stands in `results.json`.

    The arguments are those of `beholder scale-law --help`: `sizes` are at least four of WIDTHxDEPTH, `tasks` names
    between commas as of `train lvm`. Raises UserError for what cannot work.
    """
    settings = ScaleLaw(tuple(sizes or SIZES), parse_tasks(tasks, "--tasks"), budget, pictures, group=group)
    return run_scale_law(
        data, tokenizer=tokenizer, out=out, settings=settings, seed=seed, device=device, threads=threads,
        max_pixels=max_pixels, log=log,
    )  # fmt: skip


def run_scale_law(
    data: str | Path,
    *,
    tokenizer: str | Path,
    out: str | Path,
    settings: ScaleLaw,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    log: Log | None = None,
) -> dict[str, Any]:
    """The same with every choice in `settings`, those that the command line does not offer too."""
    settings = from_json(ScaleLaw, to_json(settings))
    check(settings)
    budget = parse_budget(settings.budget, needed=True)
    with sit_over_codes(
        "scale_law", data, tokenizer, out, settings, seed=seed, device=device, threads=threads,
        max_pixels=max_pixels, log=log,
    ) as (sitting, codec, asked):  # fmt: skip
        return _run(sitting.with_settings(settings.sentences()), settings, budget, codec, asked)


def _run(
    sitting: Sitting[LVMTraining], settings: ScaleLaw, budget: Budget, codec: Part, asked: dict[str, Any]
) -> dict[str, Any]:
    run, device, log, seed = sitting.run, sitting.device, sitting.log, sitting.seed
    pictures = PictureCodes(codec, device)
    grammar = SentenceConfig(pictures.num_codes, pictures.grid)
    check_length(sitting.settings, grammar.length(settings.num_pictures))
    members, memory = members_of(settings, grammar, seed), whole_memory(device.torch_device)
    for member in members:
        check_memory(member.size, member.parameters, memory)
    with run.charged("reading"):
        material = gather(sitting, codec.facts)
    with run.charged("encoding"):
        tables = encode_all(sitting, material, pictures)
    stream = SentenceStream(material, tables, grammar, sitting.settings, derive(seed, "stream"))
    held_out = HeldOut(stream, settings.num_held_out, seed)
    with run.charged("timing"):
        timed = run.resolve("timed", lambda: estimate(sitting, members, stream, budget))
    _say_estimate(sitting, members, timed)
    with run.charged("counting"):
        counted = run.stage("sentences", lambda: count_sentences(stream, grammar, timed["steps"], log))
    losses = {}
    for member in members:
        speaker = VisualSentences(member.build(settings.num_pictures, grammar), pictures, grammar, device)
        begin_with_codes(speaker.model, pictures, member.seed)
        plan = plan_for(member.lr, timed["steps"], derive(member.seed, "train"))
        losses[member.name] = measure(sitting, member, speaker, stream, plan, held_out)
    return tell(sitting, settings, asked, Finished(material, members, losses, timed, counted, len(held_out.sentences)))


def measure(
    sitting: Sitting[LVMTraining],
    member: Member,
    speaker: VisualSentences,
    stream: SentenceStream,
    plan: Plan,
    held_out: HeldOut,
) -> Float[np.ndarray, " Q"]:
    """The held-out losses of one training, which is made once."""

    def train_and_judge() -> list[float]:
        fit_stage(sitting, speaker.model, NextToken(), stream, plan, stage=member.name)
        with sitting.run.charged("judging"):
            losses = held_out.losses(speaker)
        sitting.log.stage("Size", f"{member.name}: {losses.mean():.3f} nats a code of held-out pictures")
        return losses.tolist()

    return np.array(sitting.run.stage(f"losses-{member.name}", train_and_judge))


def estimate(
    sitting: Sitting[LVMTraining], members: Sequence[Member], stream: SentenceStream, budget: Budget
) -> dict[str, Any]:
    """Seconds a step of each training, from real steps on this machine; the steps that the budget buys, the same for
    all; and the memory that those steps took."""
    watch, seconds = Stopwatch(), {}
    num_timed = 1 if budget.steps else _NUM_TIMED
    by_size: dict[str, float] = {}
    for member in members:
        if member.size not in by_size:
            by_size[member.size] = _seconds(sitting, member, stream, num_timed)
        seconds[member.name] = by_size[member.size]
    steps = budget.steps or max(1, int((budget.seconds or 0.0) / sum(seconds.values())))
    return {"steps": steps, "seconds_per_step": seconds, "peak_memory_bytes": watch.cost().peak_memory_bytes}


def _seconds(sitting: Sitting[LVMTraining], member: Member, stream: SentenceStream, num_timed: int) -> float:
    told = (
        f"--sizes {member.size}: its {member.parameters:,} weights do not fit into memory with a batch of "
        f"{sitting.settings.batch_size} sentences of {sitting.settings.num_pictures} pictures; give smaller sizes, or "
        "fewer --pictures."
    )
    with told_of_memory(told):
        model = member.build(sitting.settings.num_pictures, stream.grammar)
        return seconds_per_step(model, NextToken(), stream, sitting.device, num_timed)


def _say_estimate(sitting: Sitting[LVMTraining], members: Sequence[Member], timed: Mapping[str, Any]) -> None:
    log, steps, seconds = sitting.log, timed["steps"], timed["seconds_per_step"]
    for member in members:
        log.stage(
            "Size",
            f"{member.name}: {member.parameters:,} weights, learning rate {member.lr:.2g}, "
            f"{duration(steps * seconds[member.name])}",
        )
    log.stage(
        "Estimate",
        f"{steps:,} steps of {len(members)} trainings, {duration(steps * sum(seconds.values()))}, within "
        f"{size(timed['peak_memory_bytes'])} of memory, on {sitting.device.reason}",
    )
