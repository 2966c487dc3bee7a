"""The last stages: judge, fit the head, ship the model, show it, and write the report."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from beholder.evaluate.report import write_report
from beholder.evaluate.verdict import Verdict
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.part_folder import Part
from beholder.recipes.adapt import findings, galleries
from beholder.recipes.adapt.decide import Shipped, decide, decide_tuned
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.embedding_verdict import judge_embeddings
from beholder.recipes.adapt.estimate import Estimate
from beholder.recipes.adapt.features import Features
from beholder.recipes.adapt.fit import Choice, choose, random_split, test_score
from beholder.recipes.adapt.health import Health, cluster, consistency_of, examine, viewed_images
from beholder.recipes.adapt.judge import Judgement, View, judge_domain
from beholder.recipes.adapt.sentences import tell_sentences, views_of
from beholder.recipes.adapt.session import Session
from beholder.recipes.adapt.settings import AdaptConfig
from beholder.recipes.adapt.ship import build_bundle, cost_of_thousand, model_card
from beholder.recipes.adapt.spaces import Seen, Space
from beholder.recipes.adapt.unusual import FALSE_ALARM_RATE, Unusual, find_unusual
from beholder.recipes.results import begin_results
from beholder.recipes.spoken import spoken
from beholder.runtime.energy import Cost
from beholder.runtime.log import spent
from beholder.version import VERSION

_SPOKEN = (
    "labels", "group", "normal", "budget", "backbone", "objective", "finetune", "resolutions", "lvm", "thorough",
    "seed", "device", "threads", "max_pixels",
)  # fmt: skip
"""Settings that the command line offers."""


def tell(
    session: Session,
    domain: Domain,
    generic: nn.Module,
    features: Features,
    seen: Sequence[Seen],
    guess: Estimate,
    tuning_steps: int,
    part: Part | None,
) -> dict[str, Any]:
    """Everything after the spaces are there; returns `results.json`, whose writing ends the run."""
    album = galleries.Album(domain, session.limits, session.device.num_threads)
    with session.run.charged("embeddings"):
        health = _examine(session, domain, generic, seen[0], album)
    choice = judgement = None
    if _can_learn(domain):
        with session.run.charged("curve"):
            choice = choose(domain, domain.folds[0], seen[0].generic, seen[0].others, session.config.seed)
            judgement = _judge(session, domain, features, seen, choice) if domain.is_judged else None
    verdict = judgement.verdict if judgement else judge_embeddings(domain, health, session.config.seed)
    session.log.stage("Verdict", verdict.sentence)
    told = None
    if part is not None and choice is not None:
        with session.run.charged("curve"):
            told = tell_sentences(session, domain, part, seen, judgement.curve if judgement else None)
        for sentence in told["sentences"]:
            session.log.stage("Sentences", sentence)
    elif part is not None:
        session.log.warn("--lvm is left out: its features are judged by labels, and there are too few to learn from.")
    shipped = decide(generic, seen[0], choice, verdict)
    untuned, tuning = shipped.space, None
    if tuning_steps:
        with session.run.charged("fine-tuning"):
            shipped, tuning = decide_tuned(session, domain, generic, features, shipped, tuning_steps)
        session.log.stage("Fine-tune", tuning["sentence"])
    session.log.stage("Ship", f"{shipped.space.name} features, because {shipped.reason}.")
    with session.run.charged("unusual images"):
        taught = shipped.tuned.shown if shipped.tuned else None
        unusual = find_unusual(domain, domain.training_images(0), shipped.space, session.config.seed, taught)
    results = _begin_results(session, domain, seen[0], verdict, shipped, health, tuning)
    results["sentences"] = told
    with session.run.charged("report"):
        bundle = _bundle(session, domain, shipped, unusual)
        _show(session, domain, bundle, shipped, untuned, judgement, unusual, album, results)
        thousand = cost_of_thousand(bundle, domain.samples, session.device, session.limits)
    return _finish(session, bundle, results, guess, thousand, album)


def _can_learn(domain: Domain) -> bool:
    """Whether the training part holds two classes; where it holds the good ones only, a head would know no other."""
    return bool(domain.classes) and len(np.unique(domain.labels[domain.folds[0].train])) >= 2


def _examine(session: Session, domain: Domain, generic: nn.Module, seen: Seen, album: galleries.Album) -> list[Health]:
    """Health of every space, on the same images and the same views."""
    seed = session.config.seed
    images = album.images(viewed_images(domain, seed).tolist())
    backbones = {"generic": [generic]}
    if seen.candidate:
        adapted = seen.candidate.backbone
        backbones |= {"adapted": [adapted], "generic + adapted": [generic, adapted]}
    return [
        examine(
            domain,
            seen.space(name),
            consistency_of(own, images, session.pixels, session.device, seed),
            seed,
        )
        for name, own in backbones.items()
    ]


def _judge(session: Session, domain: Domain, features: Features, seen: Sequence[Seen], choice: Choice) -> Judgement:
    """The curve over trivial, last-layer, generic and adapted views, and those of visual sentences; the candidate is
    the one that validation took."""
    views = [
        View("trivial", "Brightness and size alone", "trivial", [_trivial(domain)]),
        View("last layer", "Generic, last layer", "last layer", [_standardised(features.summary)]),
        View("generic", "Generic", "generic", [one.generic.embedding for one in seen], is_also_picked=True),
    ]
    if choice.candidate is not None:
        name = choice.candidate.space.name
        tables = [one.space(name).embedding for one in seen]
        views.append(View("adapted", name.capitalize(), "adapted", tables, is_also_picked=True))
    views += views_of(seen)
    judgement = judge_domain(session, domain, views)
    session.log.stage("Labels", judgement.saved.sentence)
    return judgement


def _trivial(domain: Domain) -> np.ndarray:
    """Light, sharpness and size alone; sizes in logarithms."""
    rows = domain.quality.astype(np.float32).copy()
    rows[:, 2:] = np.log(np.maximum(rows[:, 2:], 1e-6))
    return _standardised(rows)


def _standardised(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    return (rows - rows.mean(0)) / np.maximum(rows.std(0), 1e-6)


def _begin_results(
    session: Session,
    domain: Domain,
    seen: Seen,
    verdict: Verdict,
    shipped: Shipped,
    health: Sequence[Health],
    tuning: dict[str, Any] | None,
) -> dict[str, Any]:
    config = session.config
    guard = seen.candidate.stopped if seen.candidate else None
    num_folds = len(domain.folds)
    folds = "one grouped split" if num_folds == 1 else f"{num_folds} grouped folds"
    protocol = f"{folds}, {config.num_label_seeds} draws of labels, {domain.group_source}"
    details = [f"Shipped: {shipped.space.name}, because {shipped.reason}."]
    if tuning:
        details.append(tuning["sentence"])
    section = findings.verdict_section(verdict, details, shipped.space.name, guard)
    return {
        **begin_results(session.run, session.device, command(session), config.seed),
        "data": findings.data_section(domain, config.photos),
        "verdict": {**section, "protocol": protocol},
        "embeddings": findings.embeddings_section(health, []),
        "training": _training(session, seen),
        "finetuning": tuning,
    }


def _bundle(session: Session, domain: Domain, shipped: Shipped, unusual: Unusual | None) -> Bundle:
    """The model as it will be saved, ready to predict; its card is written when all is known."""
    facts = {"made_by": f"beholder {VERSION}", "false_alarm_rate": FALSE_ALARM_RATE}
    return build_bundle(
        shipped.backbones,
        shipped.space,
        session.config.resolutions,
        shipped.fitted.readout if shipped.fitted else None,
        unusual,
        domain.classes,
        session.pixels,
        facts,
        "",
    )


def _show(
    session: Session,
    domain: Domain,
    bundle: Bundle,
    shipped: Shipped,
    untuned: Space,
    judgement: Judgement | None,
    unusual: Unusual | None,
    album: galleries.Album,
    results: dict[str, Any],
) -> None:
    """Fill the sections that show pictures and scores."""
    device, seed = session.device, session.config.seed
    bundle.model.to(device.torch_device)
    fitted, test = shipped.fitted, domain.folds[0].test
    if judgement:
        results["curve"] = findings.curve_section(judgement.curve, seed)
        results["labels_saved"] = findings.labels_saved_section(judgement.saved)
    if fitted and judgement:
        probabilities = fitted.readout.probabilities(shipped.space.embedding[test])
        results["score"] = test_score(domain, domain.folds[0], fitted, seed)
        results["random_split"] = random_split(domain, domain.folds[0], untuned, seed)
        results["gallery"] = galleries.answer_gallery(domain, bundle, test, probabilities, album, device)
        results["explanation"] = galleries.check_heat(domain, bundle, test, probabilities, album, device, seed)
        results["groups"] = findings.groups_section(domain, probabilities)
    if unusual:
        results["unusual"] = galleries.unusual_gallery(domain, unusual, album)
    clusters = cluster(domain, shipped.space, seed)
    for one in clusters:
        one["pictures"] = album.show(one.pop("images"))
    results["embeddings"]["clusters"] = clusters
    results["curation"] = findings.curation_section(domain, album)


def _training(session: Session, seen: Seen) -> dict[str, Any] | None:
    if seen.candidate is None:
        return None
    story = seen.candidate.story
    names = [name for name in ("rank", "knn") if name in story["probes"][0]]
    probes = [
        {"name": name, "values": [[probe["step"], probe[name]] for probe in story["probes"] if name in probe]}
        for name in names
    ]
    cost = session.run.costs().get("pretraining")
    return {
        **{key: story[key] for key in ("objective", "backbone", "steps", "stopped", "num_images", "batch_size")},
        "seconds": cost.seconds if cost else None,
        "losses": _losses(session),
        "probes": probes,
    }


def _losses(session: Session) -> list[list[float]]:
    """Loss by step of the first fold, thinned to at most 200 points; a step repeated after a kill counts once."""
    by_step = {entry["step"]: entry["total"] for entry in session.run.records("step") if entry["fold"] == 0}
    stride = max(1, len(by_step) // 200)
    return [[step, by_step[step]] for step in sorted(by_step)[::stride]]


def _finish(
    session: Session, bundle: Bundle, results: dict[str, Any], guess: Estimate, thousand: Cost, album: galleries.Album
) -> dict[str, Any]:
    """Cost, card, bundle, report, and last the file that marks the run as finished."""
    run, log = session.run, session.log
    disk_bytes = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    results["cost"] = findings.cost_section(run.costs(), guess, thousand, disk_bytes)
    results["wall_seconds"] = results["cost"]["total"]["seconds"]
    card = model_card(results, run.path / "model", "classify" if bundle.labels else "anomaly")
    bundle = Bundle(bundle.model.cpu(), bundle.pixels, bundle.labels, bundle.facts, card)
    bundle.save(run.path / "model")
    write_report(results, album.pictures, run.path / "report.html")
    run.finish(results)
    log.stage("Cost", spent(sum(run.costs().values(), Cost()), guess.total_seconds))
    log.stage("Model", str(run.path / "model"))
    log.stage("Report", str(run.path / "report.html"))
    return results


def command(session: Session) -> str:
    """The command line that repeats this run: what was asked for beside the defaults."""
    asked, usual = session.config, AdaptConfig(session.config.photos)
    words = ["beholder", "adapt", asked.photos, "--out", str(session.run.path)]
    words += spoken(asked, usual, _SPOKEN, always=("budget",))
    return shlex.join(words)
