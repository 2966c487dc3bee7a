"""Stage: fine-tune the shipped backbone on the labels, where the run asks for it; kept where validation prefers it.

A quarter of the labelled training groups is never shown to the backbone. On that quarter the fine-tuned features are
compared with those before, with the same readout on the same images, and its images calibrate the head: on images whose
labels the backbone has seen, any head looks better than it is.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import nn

from beholder.data.augment import AugmentConfig
from beholder.data.split import grouped_folds
from beholder.data.stream import ImageStream
from beholder.evaluate.label_curve import Fold
from beholder.evaluate.verdict import MIN_GROUPS
from beholder.metrics.classification import auc
from beholder.models.conv import EfficientNetLite
from beholder.models.vit import ViT
from beholder.objectives.labels import LabelPrediction
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.features import Features, extract
from beholder.recipes.adapt.fit import Choice, Fitted, choose, group_weights
from beholder.recipes.adapt.session import Session
from beholder.recipes.adapt.spaces import Space, fit_space
from beholder.recipes.pixel_cache import cache_pixels
from beholder.recipes.trained_once import trained_once
from beholder.runtime.seed import derive, numpy_generator, seed_everything
from beholder.tokenizers.pixels import PixelConfig
from beholder.train.loop import Plan, train
from beholder.train.pace import Timed, noise_pictures, seconds_per_step
from beholder.train.state import steps_taken
from beholder.train.step import Diverged
from beholder.trunk.lowrank import attach_low_rank, merge_low_rank

FEWEST_LABELS = 40
"""Fewer leave too small a quarter to judge by."""
RANK = 8
_NUM_PARTS = 4
_NUM_EPOCHS = 10
_FEWEST_STEPS, _MOST_STEPS = 40, 600
_BATCH_SIZE = 32


@dataclass(frozen=True)
class Sides:
    """Sides of the squares that a backbone sees, and of those that they are cut from."""

    seen: int
    cached: int


_SIDES = {EfficientNetLite: Sides(seen=144, cached=160), ViT: Sides(seen=96, cached=104)}
_RATES = {"full": 1e-4, "low-rank": 1e-3}


@dataclass(frozen=True)
class Tuned:
    """The fine-tuned backbone, and what the quarter that it never saw says of it."""

    backbone: nn.Module
    choice: Choice
    """Its `reference` is the space before, fitted and judged on the same images."""
    shown: Int[np.ndarray, " m"]
    """Images whose labels the backbone has seen."""
    story: dict[str, Any]

    @property
    def is_kept(self) -> bool:
        return self.choice.is_sure and self.story["stopped"] is None


def obstacle(domain: Domain, seed: int) -> str | None:
    """Why this domain's labels cannot fine-tune anything, or None."""
    if not domain.classes:
        return "there are no two classes to learn"
    train = domain.folds[0].train
    if len(train) < FEWEST_LABELS:
        return f"{len(train)} labelled training images are fewer than {FEWEST_LABELS}"
    is_unseen = _unseen(domain, domain.folds[0], seed)
    learned, asked = (np.unique(domain.labels[train[part]]) for part in (~is_unseen, is_unseen))
    if len(asked) < 2 or not np.isin(np.arange(len(domain.classes)), learned).all():
        return "the labelled groups cannot be parted so that both sides hold the classes"
    num_asked = len(np.unique(domain.groups[train[is_unseen]]))
    if num_asked < MIN_GROUPS:
        return f"a quarter of the labelled groups are {num_asked}, and fewer than {MIN_GROUPS} cannot judge it"
    return None


def tuning_steps(session: Session, domain: Domain, backbone: nn.Module) -> Timed:
    """Steps of fine-tuning and the seconds each takes here; no steps where it was not asked for or cannot be done."""
    config = session.config
    if config.finetune == "none" or obstacle(domain, config.seed):
        return Timed()
    num_shown = len(domain.folds[0].train) * (_NUM_PARTS - 1) // _NUM_PARTS
    steps = min(max(_NUM_EPOCHS * num_shown // _BATCH_SIZE, _FEWEST_STEPS), _MOST_STEPS)
    sides = _SIDES[type(backbone)]
    noise = noise_pictures(_BATCH_SIZE, sides.cached)
    model = _ready_to_learn(session, copy.deepcopy(backbone))
    objective = LabelPrediction(model, torch.zeros(len(noise), dtype=torch.int64), len(domain.classes))
    stream = _stream(noise, sides, session.pixels, seed=0)
    return Timed(steps, seconds_per_step(model, objective, stream, session.device, num_timed=2))


def finetune(session: Session, domain: Domain, start: nn.Module, generic: Features, before: Space, steps: int) -> Tuned:
    """Run or resume fine-tuning from `start`, whose space is `before`; the same bits, however often interrupted."""
    config, fold = session.config, domain.folds[0]
    is_unseen = _unseen(domain, fold, config.seed)
    shown = fold.train[~is_unseen]
    backbone = copy.deepcopy(start)
    story = trained_once(session.run, "finetuning", backbone, lambda: _train(session, domain, shown, backbone, steps))
    tuned = extract(session, backbone.eval(), domain.samples, "fine-tuned features")
    train, width, seed = domain.training_images(0), config.embedding_width, config.seed
    spaces = [
        fit_space("fine-tuned", [tuned], train, width=width, seed=seed),
        fit_space("generic + fine-tuned", [generic, tuned], train, width=width, seed=seed),
    ]
    return Tuned(backbone, choose(domain, fold, before, spaces, seed, is_unseen), shown, story)


def compare_on_test(domain: Domain, before: Fitted, after: Fitted, seed: int) -> dict[str, Any]:
    """AUC and accuracy of both heads on the test part; the 95 % interval of the AUC's change is over redrawn groups."""
    test = domain.folds[0].test
    labels, every = domain.labels[test], np.ones((1, len(test)))
    weights = group_weights(domain.groups[test], numpy_generator(seed, "fine-tuned"))
    told = [one.readout.probabilities(one.space.embedding[test]) for one in (before, after)]
    scores = [float(auc(probabilities, labels, every)[0]) for probabilities in told]
    difference = auc(told[1], labels, weights) - auc(told[0], labels, weights)
    low, high = np.nanpercentile(difference, [2.5, 97.5])
    accuracy = [float((probabilities.argmax(1) == labels).mean()) for probabilities in told]
    return {"before": scores[0], "after": scores[1], "interval": [float(low), float(high)], "accuracy": accuracy}


def _unseen(domain: Domain, fold: Fold, seed: int) -> Bool[np.ndarray, " m"]:
    """Which of the fold's training images fine-tuning never sees: about a quarter, in whole groups."""
    train = fold.train
    names = [domain.classes[label] for label in domain.labels[train]]
    return grouped_folds(names, domain.groups[train], _NUM_PARTS, derive(seed, "fine-tuning") % 2**32) == 0


def _train(
    session: Session, domain: Domain, shown: Int[np.ndarray, " m"], backbone: nn.Module, steps: int
) -> dict[str, Any]:
    config, run, device = session.config, session.run, session.device
    sides, log = _SIDES[type(backbone)], session.log
    samples = [domain.samples[index] for index in shown]
    folder = run.scratch("pixels-finetuning")
    array = cache_pixels(samples, sides.cached, folder, session.limits, device.num_threads, log)
    model = _ready_to_learn(session, backbone)
    objective = LabelPrediction(model, torch.from_numpy(domain.labels[shown]), len(domain.classes))
    plan = Plan(
        num_steps=steps,
        lr=_RATES[config.finetune],
        num_warmup=max(1, steps // 10),
        keeps_statistics=True,
        seed=derive(config.seed, "fine-tune"),
        checkpoint_every_seconds=20.0,
    )
    num_taken, stopped = steps, None
    with log.progress("Fine-tune", steps, steps_taken(run.scratch("finetuning"))) as advance:
        try:
            train(
                model, objective, _stream(array, sides, session.pixels, derive(config.seed, "fine-tuning stream")),
                plan=plan, device=device, folder=run.scratch("finetuning"),
                on_step=lambda report: advance(1, f"loss {report.losses['total']:.3f}"),
            )  # fmt: skip
        except Diverged as error:
            num_taken, stopped = error.step, str(error)
    merge_low_rank(model)
    return {"kind": config.finetune, "steps": num_taken, "num_images": len(shown), "stopped": stopped}


def _ready_to_learn(session: Session, backbone: nn.Module) -> nn.Module:
    """All weights, or low-rank updates of all matrices, ready for gradients."""
    seed_everything(session.config.seed, "fine-tuning")
    backbone.train().requires_grad_(True)
    return attach_low_rank(backbone, RANK) if session.config.finetune == "low-rank" else backbone


def _stream(array: np.ndarray, sides: Sides, pixels: PixelConfig, seed: int) -> ImageStream:
    """Gentle changes only: what is left and right, or which colour, may be the label."""
    augmentation = AugmentConfig(
        size=sides.seen, crop_area=(0.6, 1.0), horizontal_flip=0.0, brightness=0.2, contrast=0.2, saturation=0.2,
        hue=0.0, grey=0.0, blur=0.0, mean=pixels.mean, std=pixels.std,
    )  # fmt: skip
    batch_size = min(_BATCH_SIZE, len(array))
    return ImageStream(array, batch_size=batch_size, num_views=1, augmentation=augmentation, seed=seed)
