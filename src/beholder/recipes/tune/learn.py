"""Stage: low-rank updates of all matrices of both towers learn your own images and texts; all else stays as it was."""

from __future__ import annotations

import copy
from typing import Any

import torch

from beholder.checkpoint.files import load_tensors, save_tensors
from beholder.data.augment import AugmentConfig
from beholder.data.pairs import SharedTextStream
from beholder.data.stream import ImageStream
from beholder.objectives.contrastive import Contrastive, ContrastiveConfig
from beholder.recipes.tune.session import Session
from beholder.recipes.tune.sets import Asked, side_of
from beholder.recipes.tune.tunable import Tunable
from beholder.runtime.device import Device
from beholder.runtime.files import told_kindly
from beholder.runtime.seed import derive
from beholder.tasks.shared_space import SharedSpace
from beholder.tokenizers.pixels import PixelConfig
from beholder.train.loop import Plan, train
from beholder.train.pace import seconds_per_step
from beholder.train.state import steps_taken
from beholder.train.step import Diverged, StepReport

BATCH_SIZE = 32
_NUM_EPOCHS = 8
_FEWEST_STEPS, _MOST_STEPS = 40, 400
_MOST_CLASSES_AT_ONCE = 64
"""Up to so many names of classes stand in every batch; of more, those of its images."""
_PIXELS_AT_ONCE = 500_000


def steps_for(num_images: int) -> int:
    """About eight looks at every image, within bounds."""
    return min(max(_NUM_EPOCHS * num_images // BATCH_SIZE, _FEWEST_STEPS), _MOST_STEPS)


def time_a_step(session: Session, tunable: Tunable, learned: Asked) -> float:
    """Seconds of one step on this machine."""
    model, space, device = copy.deepcopy(tunable.learning), tunable.space, session.device
    return seconds_per_step(model, make_objective(space, device), make_stream(learned, space, 0), device, num_timed=2)


def learn(session: Session, tunable: Tunable, learned: Asked, steps: int) -> dict[str, Any]:
    """Train the updates in place, or load what an earlier sitting trained; how it went. Where the loss is no
    number any more, "stopped" tells it, and nothing that was learned is to be used."""
    run = session.run
    updates = {name: value for name, value in tunable.learning.named_parameters() if value.requires_grad}
    final = run.path / "checkpoints" / "tuned.safetensors"
    if not run.is_done("tuning"):
        with told_kindly(run.path), session.run.charged("tuning"):
            story = _train(session, tunable, learned, steps)
            final.parent.mkdir(exist_ok=True)
            save_tensors(final, updates)
            run.stage("tuning", lambda: story)
    tensors = load_tensors(final)
    with torch.no_grad():
        for name, value in updates.items():
            value.copy_(tensors[name])
    return run.stage("tuning", dict)


def _train(session: Session, tunable: Tunable, learned: Asked, steps: int) -> dict[str, Any]:
    config, log, space = session.config, session.log, tunable.space
    plan, seed = make_plan(steps, config.lr, config.seed), derive(config.seed, "stream")
    num_taken, stopped, folder = steps, None, session.run.scratch("tuning")
    with log.progress("Tune", steps, steps_taken(folder)) as advance:

        def on_step(report: StepReport) -> None:
            session.run.record("step", step=report.step, total=report.losses["total"])
            advance(1, f"loss {report.losses['total']:.3f}")

        try:
            train(
                tunable.learning, make_objective(space, session.device), make_stream(learned, space, seed),
                plan=plan, device=session.device, folder=folder, on_step=on_step,
            )  # fmt: skip
        except Diverged as error:
            num_taken, stopped = error.step, str(error)
    return {"steps": num_taken, "num_images": len(learned.pixels), "batch_size": BATCH_SIZE, "stopped": stopped}


def make_plan(steps: int, lr: float, seed: int) -> Plan:
    """Warm-up, then a cosine; statistics of batch norms stay as they came."""
    return Plan(
        num_steps=steps,
        lr=lr,
        num_warmup=max(1, steps // 10),
        weight_decay=0.0,
        keeps_statistics=True,
        seed=derive(seed, "tune"),
        checkpoint_every_seconds=20.0,
    )


def make_objective(space: SharedSpace, device: Device) -> Contrastive:
    """The loss that the model was trained with. On a processor, whose memory others share, only some pictures of
    a batch are held at once, nine of 224 x 224: half of the memory, a quarter more time."""
    kind = "softmax" if space.is_exclusive else "sigmoid"
    fits = max(1, _PIXELS_AT_ONCE // side_of(space.pixels) ** 2)
    return Contrastive(ContrastiveConfig(kind, chunk_size=fits if device.torch_device.type == "cpu" else None))


def make_stream(learned: Asked, space: SharedSpace, seed: int) -> SharedTextStream:
    """Batches of your own images, gently changed, and their texts."""
    images = ImageStream(
        learned.pixels, batch_size=min(BATCH_SIZE, len(learned.pixels)), num_views=1,
        augmentation=_augmentation(space.pixels), seed=seed,
    )  # fmt: skip
    shows_all = learned.has_classes and learned.num_texts <= _MOST_CLASSES_AT_ONCE
    return SharedTextStream(images, learned.text_of, learned.wordings, seed=seed, shows_all=shows_all)


def _augmentation(pixels: PixelConfig) -> AugmentConfig:
    """Gentle changes only: what is left and right, or which colour, may be what the text says."""
    scale = pixels.divisor / 255.0  # of pixels in [0, 1]
    red, green, blue = (value * scale for value in pixels.mean)
    spread = [value * scale for value in pixels.std]
    return AugmentConfig(
        size=side_of(pixels), crop_area=(0.7, 1.0), crop_ratio=(0.85, 1.18), horizontal_flip=0.0, brightness=0.2,
        contrast=0.2, saturation=0.0, hue=0.0, grey=0.0, blur=0.0, mean=(red, green, blue),
        std=(spread[0], spread[1], spread[2]),
    )  # fmt: skip
