"""`adapt`: from a folder of images to a model of that domain, with a verdict on whether adapting was worth it.

    beholder adapt PHOTOS --out runs/x --labels labels.csv --group module

Solar cells (2,624 images of elpv-dataset, labels at probability 0.5, 44 inferred modules) on 2 CPU cores: see
docs/benchmarks.md for minutes, joules and scores. Stages, each in its own file: read and curate (domain), estimate,
generic features, pretrain, adapted features, curve and verdict (judge), head (fit), unusual images, galleries, report.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from beholder.config import to_json
from beholder.data.decode import Limits
from beholder.pretrained.catalogue import efficientnet_lite0
from beholder.pretrained.part_folder import SENTENCES, Part, open_part
from beholder.recipes.adapt.domain import Domain, read_domain
from beholder.recipes.adapt.estimate import Estimate, estimate
from beholder.recipes.adapt.features import Features, extract
from beholder.recipes.adapt.finetune import obstacle, tuning_steps
from beholder.recipes.adapt.pretrain import pretrain, steps_for
from beholder.recipes.adapt.sentences import Sentences, extract_sentences, fit_spaces, open_model
from beholder.recipes.adapt.session import Session
from beholder.recipes.adapt.settings import RESOLUTIONS, AdaptConfig, check
from beholder.recipes.adapt.spaces import Seen, fit_space
from beholder.recipes.adapt.tell import tell
from beholder.recipes.budget import parse_budget
from beholder.runtime.device import pick_device
from beholder.runtime.files import refuse_inside, told_kindly
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.tokenizers.pixels import PixelConfig
from beholder.train.pace import Timed


def adapt(
    photos: str | Path,
    *,
    out: str | Path,
    labels: str | Path | None = None,
    group: str | None = None,
    normal: str | None = None,
    budget: str = "5m",
    backbone: Literal["conv", "vit"] = "conv",
    objective: Literal["auto", "teacher", "masked", "own-class"] = "auto",
    finetune: Literal["none", "low-rank", "full"] = "none",
    resolutions: tuple[int, ...] = RESOLUTIONS,
    lvm: str | Path | None = None,
    thorough: bool = False,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    log: Log | None = None,
) -> dict[str, Any]:
    """Adapt to a folder of images; returns the content of `results.json`.

    Writes into `out`: `report.html`, `results.json`, `quarantine.jsonl` and `model/`, which `beholder.load` opens.
    The arguments are those of `beholder adapt --help`. A killed run goes on when it is called again with the same
    arguments. Raises UserError, in one sentence, when the input or the output folder cannot be used.
    """
    config = AdaptConfig(
        photos=str(photos),
        labels=None if labels is None else str(labels),
        group=group,
        normal=normal,
        budget=budget,
        backbone=backbone,
        objective=objective,
        finetune=finetune,
        resolutions=resolutions,
        lvm=None if lvm is None else str(lvm),
        thorough=thorough,
        seed=seed,
        device=device,
        threads=threads,
        max_pixels=max_pixels,
    )
    config = check(config)
    refuse_inside(Path(out), Path(photos))
    part = None if config.lvm is None else open_part(config.lvm, SENTENCES, "--lvm")
    picked = pick_device(config.device, config.threads)
    log = log or Log(quiet=True)
    limits = Limits(max_pixels=config.max_pixels)
    with RunFolder.open(Path(out), to_json(config), log) as run, told_kindly(run.path):
        return _adapt(Session(config, run, picked, limits, PixelConfig(), log), part)


def _adapt(session: Session, part: Part | None) -> dict[str, Any]:
    config, run = session.config, session.run
    sentences = open_model(session, part)
    with session.run.charged("read and curate"):
        domain = read_domain(config, run, session.limits, session.device.num_threads, session.log)
    generic = efficientnet_lite0()
    steps, tuning_steps, guess = _plan(session, domain, generic, sentences)
    features = _extract(session, domain, generic, "features")
    seen = [_see_fold(session, domain, fold, generic, features, steps) for fold in range(len(domain.folds))]
    if sentences is not None:
        rows = extract_sentences(session, domain, sentences)
        seen = [replace(one, told=fit_spaces(session, domain, fold, features, rows)) for fold, one in enumerate(seen)]
    return tell(session, domain, generic, features, seen, guess, tuning_steps, part)


def _plan(
    session: Session, domain: Domain, generic: nn.Module, sentences: Sentences | None
) -> tuple[int, int, Estimate]:
    """Steps of pretraining and of fine-tuning, and what all will cost: decided once, kept in `recipe.json`."""
    run, config, log = session.run, session.config, session.log
    if config.finetune != "none" and (why := obstacle(domain, config.seed)):
        log.warn(f"--finetune {config.finetune} is left out: {why}")
    num_images = len(domain.training_images(0))
    with session.run.charged("estimate"):
        pretraining = run.resolve(
            "pretraining", lambda: asdict(steps_for(session, parse_budget(config.budget), generic, num_images))
        )
        tuning = run.resolve("finetuning", lambda: asdict(tuning_steps(session, domain, generic)))
        told = run.resolve(
            "estimate",
            lambda: asdict(estimate(session, domain, generic, Timed(**pretraining), Timed(**tuning), sentences)),
        )
    guess = Estimate(**told)
    log.stage("Estimate", guess.sentence)
    return pretraining["steps"], tuning["steps"], guess


def _extract(session: Session, domain: Domain, backbone: nn.Module, stage: str, fold: int = 0) -> Features:
    with session.run.charged(stage):
        return extract(session, backbone, domain.samples, f"{stage} {fold}")


def _see_fold(session: Session, domain: Domain, fold: int, generic: nn.Module, features: Features, steps: int) -> Seen:
    config, train = session.config, domain.training_images(fold)
    width, seed = config.embedding_width, config.seed
    with session.run.charged("features"):
        space = fit_space("generic", [features], train, width=width, seed=seed)
    if steps == 0 or len(train) < 2:
        return Seen(space, (), None)
    candidate = pretrain(session, domain, fold, steps, generic)
    taken, looked_at = candidate.story["steps"], candidate.story["num_images"]
    of_all = "" if looked_at == len(train) else f" of {len(train):,}"
    stopped = f"; stopped: {candidate.stopped}" if candidate.stopped else ""
    session.log.stage("Pretrain", f"{taken:,} steps of {config.method} on {looked_at:,}{of_all} images{stopped}")
    adapted = _extract(session, domain, candidate.backbone, "adapted features", fold)
    with session.run.charged("adapted features"):
        others = (
            fit_space("adapted", [adapted], train, width=width, seed=seed),
            fit_space("generic + adapted", [features, adapted], train, width=width, seed=seed),
        )
    return Seen(space, others, candidate)
