"""Candidates of `domain_full.py` that lightly-train pretrains: the same network and first weights, images, picture
size, batch and CPU seconds of one thread as ours, its own methods, augmentations and schedules. Its optimizers and
rates are its defaults, which are made for networks that begin with nothing; ours was chosen on validation parts, so
that each method is also run with ours ("-gentle": AdamW, a rate of 5e-5).

    LIGHTLY_TRAIN=PEER/bin/python python benchmarks/domain_full.py run --set elpv --candidate lightly-train-simclr \\
        --variant lightly-train-simclr --out full

lightly-train (0.18, with torchvision and jaxtyping) lives in an environment of its own, whose Python the variable
names. Its imports are not counted, nor the few steps by which it is timed. Its methods dinov2 and dinov31 want a
transformer, distillation a teacher that has to be downloaded: these are not compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from beholder.checkpoint.files import load_tensors, save_tensors
from beholder.config import to_json
from beholder.models.conv import EfficientNetLite
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.session import Session
from beholder.recipes.pixel_cache import cache_pixels
from beholder.runtime.files import read_json, write_whole
from beholder.tokenizers.pixels import PixelConfig

GENTLE_RATE = 5e-5
_REFERENCE = 256
"""The batch that the peer's rates are told for: it scales them by its own over this."""


@dataclass(frozen=True)
class PeerMethod:
    """What is asked of `lightly_train.pretrain`."""

    method: str
    transform: dict[str, Any] = field(default_factory=dict)
    is_gentle: bool = False
    """AdamW at our rate, instead of what the method comes with."""

    def optimizer(self, batch: int) -> dict[str, Any]:
        return {"optim": "adamw", "optim_args": {"lr": GENTLE_RATE * _REFERENCE / batch}} if self.is_gentle else {}


_NO_SMALL_VIEWS = {"local_view": None}  # six more views of 96 pixels would leave a third of the steps
METHODS = {
    "simclr": PeerMethod("simclr"),
    "simclr-gentle": PeerMethod("simclr", is_gentle=True),
    "dino": PeerMethod("dino", _NO_SMALL_VIEWS),
    "dino-gentle": PeerMethod("dino", _NO_SMALL_VIEWS, is_gentle=True),
}
PEER = Path(__file__).parent / "lightly_train_peer.py"


def pretrained_by_peer(
    name: str,
    session: Session,
    domain: Domain,
    generic: nn.Module,
    seconds: float,
    *,
    view: int,
    cached: int,
    batch: int,
) -> tuple[nn.Module, dict[str, Any]]:
    """The network after so many CPU seconds of one of METHODS, and what it took."""
    how = METHODS[name]
    python = os.environ.get("LIGHTLY_TRAIN")
    if python is None:
        sys.exit("LIGHTLY_TRAIN is not set; name the Python of lightly-train's environment.")
    assert isinstance(generic, EfficientNetLite)
    folder = session.run.scratch(f"lightly-train-{name}")
    photos = write_photos(session, domain, cached, folder / "photos")
    start, end, story = folder / "start.safetensors", folder / "end.safetensors", folder / "story.json"
    save_tensors(start, generic.state_dict())
    asked = {
        "method": how.method, "optimizer": how.optimizer(batch), "photos": str(photos), "out": str(folder / "out"),
        "config": to_json(generic.config), "start": str(start), "end": str(end), "story": str(story),
        "seconds": seconds, "batch": batch, "seed": session.config.seed,
        "transform": {"image_size": [view, view], "normalize": as_read(session.pixels), **how.transform},
    }  # fmt: skip
    if not story.exists():
        source = str(Path(__file__).parent.parent / "src")
        told = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        done = subprocess.run([python, str(PEER)], input=json.dumps(asked), text=True, env=told, capture_output=True)
        if done.returncode:
            sys.exit(f"lightly-train failed:\n{done.stderr[-3000:]}")
    backbone = EfficientNetLite(generic.config)
    backbone.load_state_dict(load_tensors(end))
    return backbone, {**read_json(story), "num_images": len(domain.training_images(0))}


def as_read(pixels: PixelConfig) -> dict[str, Any]:
    """As its features are read afterwards, and as the weights were made; the peer's own default is another."""
    return {"mean": list(pixels.mean), "std": list(pixels.std)}


def write_photos(session: Session, domain: Domain, side: int, folder: Path) -> Path:
    """The squares that ours learns from, as PNG files: so that decoding costs the peer little, as it does ours."""
    folder.mkdir(exist_ok=True)
    for number, square in enumerate(squares_of(session, domain, side)):
        path = folder / f"{number:05d}.png"
        if not path.exists():
            write_whole(path, lambda temporary, square=square: save(square, temporary))
    return folder


def squares_of(session: Session, domain: Domain, side: int) -> np.ndarray:
    """What may be learned from: bytes n 3 side side, made once."""
    samples = [domain.samples[index] for index in domain.training_images(0)]
    return cache_pixels(samples, side, session.run.scratch(f"squares-{side}"), session.limits, 1, session.log)


def save(square: np.ndarray, path: Path) -> None:
    Image.fromarray(square.transpose(1, 2, 0)).save(path, "PNG")
