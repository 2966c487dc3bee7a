"""Stage: train the codec within the budget, with samples along the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from beholder.data.augment import AugmentConfig
from beholder.data.stream import ImageStream, Stream
from beholder.metrics.pictures import psnr, share_used
from beholder.models.codec import ImageCodec
from beholder.models.critic import PatchCritic
from beholder.models.perceiver import Perceiver
from beholder.objectives.reconstruction import Reconstruction
from beholder.pretrained.catalogue import efficientnet_lite0
from beholder.recipes.budget import parse_budget
from beholder.recipes.tokenizer.drawn import SHARE, MixedStream
from beholder.recipes.tokenizer.pictures import Pictures, room_for
from beholder.recipes.tokenizer.sheets import sheet
from beholder.recipes.tokenizer.sitting import Sitting
from beholder.recipes.trained_once import trained_once
from beholder.runtime.arrays import release_pages
from beholder.runtime.ledger import Ledger
from beholder.runtime.memory import told_of_memory
from beholder.runtime.seed import derive, seed_everything
from beholder.tasks.provenance import describe_origin, write_picture
from beholder.train.loop import Plan, train
from beholder.train.pace import Timed, noise_pictures, seconds_per_step
from beholder.train.state import steps_taken
from beholder.train.step import StepReport

BATCH_SIZE = 32
EYE = (1, 2, 4)
"""Stages of EfficientNet-Lite0 whose maps are compared: strides 4, 8 and 16."""
SAVE_EVERY_SECONDS = 20.0
_NUM_PROBES = 10
_NUM_WATCHED, _NUM_SHOWN = 64, 16
_NUM_BEGUN_WITH = 500
"""Pictures, at most, that linear maps are fitted to before the first step."""
_AVERAGED_SHARE, _LONGEST_AVERAGE = 0.05, 0.995
"""Of the steps, over which weights are averaged, and the momentum that this comes to at most."""
LR = {"conv": 2e-3, "vit": 1e-3}


@dataclass(frozen=True)
class Learned:
    """The codec, in evaluation mode and on the run's device, and how it came about."""

    codec: ImageCodec
    story: dict[str, Any]


def steps_for(sitting: Sitting) -> Timed:
    """How many steps the budget buys here, from timed steps on noise. Raises UserError where memory is too small."""
    budget, size = parse_budget(sitting.config.budget), sitting.codec.image_size
    stream = _stream(sitting, noise_pictures(BATCH_SIZE, room_for(size)))
    num_timed = 1 if budget.steps else 4
    told = f"--size {size}: {BATCH_SIZE} pictures of that side at once do not fit into memory; give a smaller one."
    with told_of_memory(told):
        per_step = seconds_per_step(_codec(sitting), build_objective(sitting), stream, sitting.device, num_timed)
    return Timed(budget.steps or max(1, int((budget.seconds or 0.0) / per_step)), per_step)


def learn(sitting: Sitting, pictures: Pictures, num_steps: int) -> Learned:
    """Run or resume the training. The result is the same, bit for bit, however often it was interrupted."""
    codec = _codec(sitting, pictures)
    story = trained_once(sitting.run, "training", codec, lambda: _train(sitting, pictures, codec, num_steps))
    codec.to(sitting.device.torch_device).eval().requires_grad_(False)
    return Learned(codec, story)


def build_objective(sitting: Sitting) -> Reconstruction:
    """Pixels, the eye of EfficientNet-Lite0, and the critic if it was asked for."""
    seed_everything(sitting.config.seed, "objective")
    critic = PatchCritic() if sitting.config.adversary else None
    book = sitting.codec.codebook
    eye = Perceiver(efficientnet_lite0(), EYE)
    return Reconstruction(eye, critic, table_shape=book.table_shape, follows=book.follows)


def to_pixels(pictures: UInt8[np.ndarray, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """Bytes to what a codec reads, -1 to 1."""
    return torch.from_numpy(pictures.astype(np.float32)) / 127.5 - 1


def to_bytes(pixels: Float[Tensor, "B 3 H W"]) -> UInt8[np.ndarray, "B 3 H W"]:
    """What a codec paints, as bytes."""
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy()


def middles(pictures: UInt8[np.ndarray, "n 3 R R"], size: int) -> UInt8[np.ndarray, "n 3 S S"]:
    """Squares of `size` out of the middle of larger ones."""
    start = (pictures.shape[2] - size) // 2
    return np.ascontiguousarray(pictures[:, :, start : start + size, start : start + size])


def encode(codec: ImageCodec, pictures: UInt8[np.ndarray, "n 3 S S"], device: torch.device) -> Int[np.ndarray, "n h w"]:
    """The codes of all pictures."""
    parts = (pictures[first : first + BATCH_SIZE] for first in range(0, len(pictures), BATCH_SIZE))
    return np.concatenate([codec.encode(to_pixels(part).to(device)).cpu().numpy() for part in parts])


def repaint(
    codec: ImageCodec, pictures: UInt8[np.ndarray, "n 3 S S"], device: torch.device
) -> tuple[UInt8[np.ndarray, "n 3 S S"], Int[np.ndarray, "n h w"]]:
    """The pictures as they come back from their codes alone, and the codes."""
    codes = encode(codec, pictures, device)
    parts = (codes[first : first + BATCH_SIZE] for first in range(0, len(codes), BATCH_SIZE))
    painted = [to_bytes(codec.decode(torch.from_numpy(part).to(device))) for part in parts]
    return np.concatenate(painted), codes


def num_watched(num_held_out: int) -> int:
    """Of so many held-out pictures, those that `Watch` looks at."""
    return min(_NUM_WATCHED, num_held_out)


class Watch:
    """A probe: how well some held-out pictures come back, told aloud and shown in `samples/`. It chooses nothing."""

    def __init__(self, sitting: Sitting, held_out: np.ndarray, num_steps: int) -> None:
        rows = np.random.default_rng(derive(sitting.config.seed, "watched")).permutation(len(held_out))
        self._pictures = np.ascontiguousarray(held_out[np.sort(rows[:_NUM_WATCHED])])
        self._sitting, self._num_steps = sitting, num_steps
        self.loss = float("nan")

    def __call__(self, model: nn.Module, step: int) -> dict[str, float]:
        assert isinstance(model, ImageCodec)
        painted, codes = repaint(model, self._pictures, self._sitting.device.torch_device)
        decibels = float(psnr(*(torch.from_numpy(one).float() / 255 for one in (self._pictures, painted))).mean())
        name = f"step-{step:06d}"
        write_picture(
            self._sitting.run.path / "samples" / f"{name}.png",
            sheet(self._pictures[:_NUM_SHOWN], painted[:_NUM_SHOWN]),
            describe_origin("train tokenizer", f"unfinished: {name}", self._sitting.config.seed, ""),
        )
        self._sitting.log.stage(
            "Train", f"step {step:,} of {self._num_steps:,}: loss {self.loss:.3f}, held-out PSNR {decibels:.1f} dB"
        )
        return {"psnr": decibels, "share_used": share_used(codes, model.num_codes)}


def _train(sitting: Sitting, pictures: Pictures, codec: ImageCodec, num_steps: int) -> dict[str, Any]:
    """What is kept is the average of the weights."""
    watch, ledger = Watch(sitting, pictures.held_out, num_steps), Ledger(sitting.run, "training")
    plan = Plan(
        num_steps,
        LR[sitting.codec.kind],
        num_warmup=max(1, num_steps // 20),
        weight_decay=0.02,
        average_momentum=min(_LONGEST_AVERAGE, 1 - 1 / max(10.0, _AVERAGED_SHARE * num_steps)),
        seed=derive(sitting.config.seed, "training"),
        probe_every=max(1, num_steps // _NUM_PROBES),
        checkpoint_every_seconds=SAVE_EVERY_SECONDS,
    )
    folder = sitting.run.scratch("training")
    with sitting.log.progress("Train", num_steps, steps_taken(folder)) as advance:

        def on_step(report: StepReport) -> None:
            sitting.run.record("step", step=report.step, **report.losses)
            ledger.on_step()
            watch.loss = report.losses["total"]
            release_pages(pictures.learned)
            advance(1, f"loss {report.losses['total']:.3f}")

        stream = _stream(sitting, pictures.learned, pictures.drawn)
        result = train(
            codec, build_objective(sitting), stream, plan=plan, device=sitting.device,
            folder=folder, probes=[watch], on_step=on_step,
        )  # fmt: skip
    ledger.close()
    assert result.average is not None
    codec.load_state_dict(result.average.state_dict())
    return {"steps": result.num_steps, "batch_size": BATCH_SIZE, "probes": list(result.probes)}


def _codec(sitting: Sitting, pictures: Pictures | None = None) -> ImageCodec:
    """A fresh one, whose linear maps, if it has them, fit some of the pictures."""
    seed_everything(sitting.config.seed, "codec")
    codec = ImageCodec(sitting.codec)
    if pictures is not None:
        rows = np.unique(np.linspace(0, len(pictures.learned) - 1, _NUM_BEGUN_WITH).astype(int))
        begun = [pictures.learned[rows]]
        if pictures.drawn is not None:
            few = np.linspace(0, len(pictures.drawn) - 1, _NUM_BEGUN_WITH // SHARE).astype(int)
            begun.append(pictures.drawn[np.unique(few)])
        codec.begin(to_pixels(middles(np.concatenate(begun), sitting.codec.image_size)))
    return codec


def _stream(sitting: Sitting, learned: np.ndarray, drawn: np.ndarray | None = None) -> Stream:
    """Shifted and mirrored crops of nearly the whole square, in their own colours: what is learned is to paint."""
    size, num_drawn = sitting.codec.image_size, 0 if drawn is None else BATCH_SIZE // SHARE
    augmentation = AugmentConfig(
        size=size, crop_area=((size / room_for(size)) ** 2, 1.0), crop_ratio=(1.0, 1.0), jitter=0.0, grey=0.0, blur=0.0
    )

    def stream(images: np.ndarray, count: int, name: str) -> ImageStream:
        seed = derive(sitting.config.seed, name)
        return ImageStream(images, batch_size=count, num_views=1, augmentation=augmentation, seed=seed)

    photos = stream(learned, BATCH_SIZE - num_drawn, "stream")
    return photos if drawn is None else MixedStream(photos, stream(drawn, num_drawn, "drawn stream"))
