"""Stage: domain pretraining on the unlabelled training images of one fold, within the budget, watched for collapse."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from beholder.data.augment import AugmentConfig
from beholder.data.stream import ImageStream
from beholder.models.conv import EfficientNetLite
from beholder.models.vit import PRESETS as VIT_PRESETS
from beholder.models.vit import ViT
from beholder.objectives.masked import MaskedPrediction
from beholder.objectives.own_class import OwnClass
from beholder.objectives.teacher import SelfDistillation
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.guard import Guard
from beholder.recipes.adapt.session import Session
from beholder.recipes.adapt.settings import AdaptConfig
from beholder.recipes.budget import Budget
from beholder.recipes.pixel_cache import cache_pixels
from beholder.recipes.trained_once import trained_once
from beholder.runtime.arrays import release_pages
from beholder.runtime.ledger import Ledger
from beholder.runtime.seed import derive, seed_everything
from beholder.tokenizers.pixels import PixelConfig
from beholder.train.loop import Plan, train
from beholder.train.pace import Timed, noise_pictures, seconds_per_step
from beholder.train.state import steps_taken
from beholder.train.step import Diverged, StepReport


@dataclass(frozen=True)
class Diet:
    """What a backbone is fed in pretraining."""

    view_size: int
    cache_size: int
    """Side of the squares kept on disk; a little larger than the views, so that crops differ."""
    batch_size: int
    lr: float
    layer_decay: float
    keeps_statistics: bool
    """Whether batch norms keep the statistics of their first training: recounted on a small set they cost ten points of
    k-NN accuracy before any step was taken (benchmarks/objectives_cifar.py)."""


DIETS = {
    "conv": Diet(view_size=112, cache_size=144, batch_size=32, lr=2e-4, layer_decay=1.0, keeps_statistics=True),
    "vit": Diet(view_size=96, cache_size=112, batch_size=48, lr=1e-3, layer_decay=1.0, keeps_statistics=False),
}
_NUM_PROBES = 8


@dataclass(frozen=True)
class Method:
    """How a backbone learns from images without labels."""

    build: Callable[[nn.Module, int], nn.Module]
    """The objective, for a backbone and so many images."""
    num_views: int = 1
    most_images: int = 50_000
    """That a fold's pretraining looks at."""
    lr: float | None = None
    """For the network that came with weights; None: its diet's."""
    num_frozen: int = 0
    """Stages of that network, the earliest, that stay as they are."""


METHODS = {
    "teacher": Method(lambda backbone, _: SelfDistillation(backbone), num_views=2),
    "masked": Method(lambda backbone, _: MaskedPrediction(backbone)),
    # two thousand weights of the head for each image
    "own-class": Method(OwnClass, most_images=5_000, lr=5e-5, num_frozen=5),
}


@dataclass(frozen=True)
class Candidate:
    """The backbone after pretraining, as the verdict judges it, and what the guard said of it."""

    backbone: nn.Module
    stopped: str | None
    """Why the guard ended the run; a stopped candidate is never shipped."""
    story: dict[str, Any]
    """Steps, losses and probes for the report."""


def start_backbone(config: AdaptConfig, generic: nn.Module) -> nn.Module:
    """Where pretraining begins: a copy of the generic network, or a small fresh transformer."""
    if config.backbone == "conv":
        backbone = copy.deepcopy(generic).train().requires_grad_(True)
        assert isinstance(backbone, EfficientNetLite)
        if num_frozen := METHODS[config.method].num_frozen:
            for part in (backbone.stem, *backbone.stages[:num_frozen]):
                part.requires_grad_(False)
        return backbone
    seed_everything(config.seed, "vit")
    return ViT(VIT_PRESETS["domain"])


def pretrain(session: Session, domain: Domain, fold: int, steps: int, generic: nn.Module) -> Candidate:
    """Run or resume the fold's pretraining. The result is the same, bit for bit, however often it was interrupted.

    A run that the guard ends, or whose loss is no longer a number, gives the candidate as it was then, with the reason.
    """
    backbone = start_backbone(session.config, generic)
    story = trained_once(
        session.run, f"pretraining-{fold}", backbone, lambda: _train(session, domain, fold, steps, backbone)
    )
    return Candidate(backbone.eval(), story["stopped"], story)


def _train(session: Session, domain: Domain, fold: int, steps: int, backbone: nn.Module) -> dict[str, Any]:
    config, run, device = session.config, session.run, session.device
    diet, method, images = diet_of(config), METHODS[config.method], domain.training_images(fold)
    most = min(steps * diet.batch_size, method.most_images)
    chosen = _affordable(images, most, derive(config.seed, "cached", fold))
    samples = [domain.samples[index] for index in chosen]
    folder = run.scratch(f"pixels-{fold}")
    array = cache_pixels(samples, diet.cache_size, folder, session.limits, device.num_threads, session.log)
    labels = domain.labels[chosen] if domain.is_judged else None
    groups = domain.groups[chosen]
    guard = Guard.begin(backbone, array, labels, groups, session.pixels, device, config.seed, trusted_from=steps // 2)
    stream = _stream(array, diet, config, session.pixels, fold)
    ledger = Ledger(run, "pretraining")
    num_taken, stopped = steps, None
    probes: list[Any] = [guard.before]
    with session.log.progress("Pretrain", steps, steps_taken(run.scratch(f"pretraining-{fold}"))) as advance:

        def on_step(report: StepReport) -> None:
            run.record("step", fold=fold, step=report.step, **report.losses)
            ledger.on_step()
            release_pages(array)
            advance(1, f"loss {report.losses['total']:.3f}")

        try:
            result = train(
                backbone,
                build_objective(config, backbone, len(chosen)),
                stream,
                plan=_plan(diet, steps, derive(config.seed, "pretrain", fold)),
                device=device,
                folder=run.scratch(f"pretraining-{fold}"),
                probes=[guard],
                on_step=on_step,
            )
            num_taken, stopped, probes = result.num_steps, result.stopped, [*probes, *result.probes]
        except Diverged as error:
            num_taken, stopped = error.step, str(error)
    ledger.close()
    return {
        "objective": config.method,
        "backbone": config.backbone,
        "steps": num_taken,
        "batch_size": stream.batch_size,
        "num_images": len(chosen),
        "stopped": stopped,
        "probes": probes,
    }


def diet_of(config: AdaptConfig) -> Diet:
    """What the run's backbone is fed."""
    diet, lr = DIETS[config.backbone], METHODS[config.method].lr
    return diet if lr is None or config.backbone == "vit" else replace(diet, lr=lr)


def build_objective(config: AdaptConfig, backbone: nn.Module, num_images: int) -> nn.Module:
    """The objective that the run asked for, with heads that fit the backbone and so many images."""
    seed_everything(config.seed, "objective")
    return METHODS[config.method].build(backbone, num_images)


def steps_for(session: Session, budget: Budget, generic: nn.Module, num_images: int) -> Timed:
    """How many steps the budget buys here, from timed steps on noise; decided once and kept in `recipe.json`."""
    if budget.is_none:
        return Timed(0, 0.0)
    config, device = session.config, session.device
    diet = diet_of(config)
    num_images = max(diet.batch_size, min(num_images, METHODS[config.method].most_images))
    backbone = start_backbone(config, generic)
    stream = _stream(noise_pictures(diet.batch_size, diet.cache_size), diet, config, session.pixels, 0)
    num_timed = 1 if budget.steps else 4
    per_step = seconds_per_step(backbone, build_objective(config, backbone, num_images), stream, device, num_timed)
    return Timed(budget.steps or max(1, int((budget.seconds or 0.0) / per_step)), per_step)


def _stream(array: np.ndarray, diet: Diet, config: AdaptConfig, pixels: PixelConfig, fold: int) -> ImageStream:
    augmentation = AugmentConfig(size=diet.view_size, crop_area=(0.4, 1.0), mean=pixels.mean, std=pixels.std)
    return ImageStream(
        array,
        batch_size=min(diet.batch_size, len(array)),
        num_views=METHODS[config.method].num_views,
        augmentation=augmentation,
        seed=derive(config.seed, "stream", fold),
    )


def _plan(diet: Diet, steps: int, seed: int) -> Plan:
    return Plan(
        num_steps=steps,
        lr=diet.lr,
        num_warmup=max(1, steps // 10),
        layer_decay=diet.layer_decay,
        keeps_statistics=diet.keeps_statistics,
        seed=seed,
        probe_every=max(1, steps // _NUM_PROBES),
        checkpoint_every_seconds=20.0,
    )


def _affordable(images: np.ndarray, most: int, seed: int) -> np.ndarray:
    """So many of them at most, drawn by seed."""
    if len(images) <= most:
        return images
    return np.sort(np.random.default_rng(seed).choice(images, max(most, 1), replace=False))
