"""`tune`: the order of the stages, and the function that Python and the command line call.

    beholder tune embedded --data photos/ --guard general/ --out runs/tuned

Hardware: any CPU or one GPU. 400 images at 224 pixels on "embedded" take some minutes on two cores; the run tells its
estimate before it starts. It ends with both scores before and after, on test parts that were not learned from.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from beholder.config import to_json
from beholder.data.decode import Limits
from beholder.evaluate.report_tune import write_tune_report
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.recipes.tune.blend import SHARES, Blends, blend
from beholder.recipes.tune.judge import change, judge, verdict
from beholder.recipes.tune.learn import learn, steps_for, time_a_step
from beholder.recipes.tune.score import place_images
from beholder.recipes.tune.session import Session
from beholder.recipes.tune.sets import TuningSet, open_sets, read_sets
from beholder.recipes.tune.settings import LEARNING_RATE, RANK, TuneConfig, check, command
from beholder.recipes.tune.ship import model_card, open_model, save_model
from beholder.recipes.tune.tunable import Tunable, make_tunable
from beholder.runtime.device import pick_device
from beholder.runtime.energy import Cost
from beholder.runtime.files import told_kindly
from beholder.runtime.log import Log, duration, spent
from beholder.runtime.machine import machine
from beholder.runtime.run_folder import RunFolder
from beholder.tasks.shared_space import SharedSpace
from beholder.version import VERSION

_NUM_TIMED = 16


def tune(
    model: Foreign | str | Path,
    *,
    data: str | Path,
    out: str | Path,
    guard: str | Path | None = None,
    rank: int = RANK,
    steps: int | None = None,
    lr: float = LEARNING_RATE,
    may_lose: float | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    log: Log | None = None,
) -> dict[str, Any]:
    """Tune a model of images and texts to your own, tell what that gains there and loses elsewhere, and ship the blend
    of before and after that is best; returns the content of `results.json`.

    `data` and `guard` are images in folders of classes, or with a text each. The guard is never learned from; without
    one, what is forgotten is not known. `may_lose` is how many points the general score may fall; without it both
    scores count the same. Writes into `out`: `report.html`, `results.json`, `model/`, which `beholder.load` opens, and
    `quarantine.jsonl`. A killed run goes on when it is called again with the same arguments. Raises UserError, in one
    sentence, for what cannot be tuned, read or written.
    """
    name = str(model.source) if isinstance(model, Foreign) else str(model)
    config = TuneConfig(
        name, str(data), None if guard is None else str(guard), rank, steps, lr, may_lose, seed, device, threads,
        max_pixels,
    )  # fmt: skip
    check(config, Path(out))
    picked, log = pick_device(device, threads), log or Log(quiet=True)
    first, space = open_model(model, picked)
    with RunFolder.open(Path(out), to_json(config), log) as run, told_kindly(run.path):
        return _tune(Session(config, run, picked, Limits(max_pixels=max_pixels), log), first, space)


def _tune(session: Session, first: Foreign, space: SharedSpace) -> dict[str, Any]:
    config, run, log = session.config, session.run, session.log
    own, guard = read_sets(session)
    sets = open_sets(session, space, own, guard)
    learned = sets[0].learned
    assert learned is not None
    steps = run.resolve("steps", lambda: config.steps or steps_for(len(learned.pixels)))
    tunable = make_tunable(space, config.rank, config.seed)
    guess = run.resolve("estimate", lambda: _estimate(session, tunable, sets, steps))
    told = ", ".join(f"{name} {duration(seconds)}" for name, seconds in guess.items())
    log.stage("Estimate", f"about {duration(sum(guess.values()))} ({told})")
    story = learn(session, tunable, learned, steps)
    log.stage("Tune", story["stopped"] or f"{steps:,} steps on {len(learned.pixels):,} images, rank {config.rank}")
    blends = blend(session, tunable, sets, story["stopped"])
    log.stage("Blend", _blend_sentence(blends, blends.choose(config.may_lose)))
    test = judge(session, tunable, sets, blends)
    for line, scores in (("Own", test["own"]), ("General", test["general"])):
        if scores is not None:
            log.stage(line, change(scores))
    results = _results(session, sets, story, blends, test)
    tunable.at(test["share"])
    return _finish(session, first, tunable.plain, results, guess)


def _estimate(session: Session, tunable: Tunable, sets: Sequence[TuningSet], steps: int) -> dict[str, float]:
    """Seconds of the long stages, from a few timed steps and images."""
    learned, space = sets[0].learned, tunable.space
    assert learned is not None
    with session.run.charged("estimate"):
        step = time_a_step(session, tunable, learned)
        few = sets[0].validation.pixels[:_NUM_TIMED]
        place_images(space.model, few, space.pixels, session.device)  # warms up
        began = time.perf_counter()
        place_images(space.model, few, space.pixels, session.device)
        image = (time.perf_counter() - began) / len(few)
    num_looks = sum(len(SHARES) * len(one.validation.pixels) for one in sets)
    num_tested = sum(3 * len(one.test.pixels) for one in sets)
    seconds = {"tuning": step * steps, "blend": image * num_looks, "test": image * num_tested}
    return {name: round(value, 1) for name, value in seconds.items()}


def _blend_sentence(blends: Blends, share: float) -> str:
    place = blends.shares.index(share)
    sets = [("own", blends.own), *([("general", blends.general)] if blends.general is not None else [])]
    told = ", ".join(f"{name} {100 * (scores[place] - scores[0]):+.1f} points" for name, scores in sets)
    return f"{share:.0%} of what was learned; on the validation parts {told}"


def _results(
    session: Session, sets: Sequence[TuningSet], story: dict[str, Any], blends: Blends, test: dict[str, Any]
) -> dict[str, Any]:  # fmt: skip
    config, run = session.config, session.run
    losses = {entry["step"]: entry["total"] for entry in run.records("step")}
    stride = max(1, len(losses) // 200)
    return {
        "name": Path(config.data).resolve().name,
        "version": VERSION,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command(config, run.path),
        "seed": config.seed,
        "model": config.model,
        "data": _described(sets[0], config.data),
        "guard": _described(sets[1], config.guard or "") if len(sets) > 1 else None,
        "tuning": {
            **story, "rank": config.rank, "lr": config.lr,
            "losses": [[step, losses[step]] for step in sorted(losses)[::stride]],
        },
        "blend": {**asdict(blends), "chosen": blends.choose(config.may_lose), "may_lose": config.may_lose},
        "own": test["own"],
        "general": test["general"],
        "shipped": {"share": test["share"], "vetoed": test["vetoed"]},
        "verdict": verdict(test, story["stopped"]),
        "machine": machine(session.device),
    }  # fmt: skip


def _described(one: TuningSet, folder: str) -> dict[str, Any]:
    source, parts = one.source, {"train": one.learned, "validation": one.validation, "test": one.test}
    return {
        "folder": folder,
        "description": source.description,
        "num_found": len(source.curation.samples) + len(source.curation.quarantine),
        "num_kept": len(source.samples),
        **{f"num_{name}": 0 if part is None else len(part.pixels) for name, part in parts.items()},
        "has_classes": source.has_classes,
    }


def _finish(
    session: Session, first: Foreign, tuned: nn.Module, results: dict[str, Any], guess: dict[str, float]
) -> dict[str, Any]:
    """Cost, model, report, and last the file that marks the run as finished."""
    run, log = session.run, session.log
    costs, total = run.costs(), Cost()
    for cost in costs.values():
        total = total + cost
    rows = [{"stage": name, **asdict(cost), "estimated_seconds": guess.get(name)} for name, cost in costs.items()]
    results["cost"] = {"rows": rows, "total": asdict(total)}
    results["wall_seconds"] = total.seconds
    facts = {"made_by": f"beholder {VERSION} tune", **results["shipped"]}
    facts |= {name: results[name] for name in ("model", "command", "own", "general", "verdict")}
    save_model(run.path / "model", first, tuned, facts, model_card(results, run.path / "model"))
    write_tune_report(results, run.path / "report.html")
    run.finish(results)
    log.stage("Verdict", f"{results['verdict']['sentence']} {results['verdict']['aside']}")
    log.stage("Cost", spent(total))
    log.stage("Model", str(run.path / "model"))
    log.stage("Report", str(run.path / "report.html"))
    return results
