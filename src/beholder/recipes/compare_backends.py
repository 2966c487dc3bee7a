"""Every way to run an image encoder, tried on this machine: what `doctor --backends` tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from beholder.backends.choose import QUICK, Trial, choose, exists
from beholder.backends.outputs import Backend, Precision
from beholder.models.clip import PRESETS, ImageTower
from beholder.pretrained.load import load
from beholder.runtime.device import Device
from beholder.runtime.log import Log, counted
from beholder.tasks.image_encoder import ImageEncoder, Unit, open_encoder
from beholder.tokenizers.pixels import PixelConfig, prepare

TRIED: tuple[Backend, ...] = (*QUICK, "compiled")
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "int8")
_SHAPE = "clip-vit-base-patch32"
_SIDE = 224
_NUM_PICTURES = 8


def compare_backends(device: Device, model: str | Path | None = None, log: Log | None = None) -> dict[str, Any]:
    """Findings by "backend precision", each a sentence: pictures a second and the lowest cosine to fp32, or why it
    cannot be used; and by "auto precision", what "auto" takes.

    The encoder is that of `model`, or one of ViT-B/32's shape with random weights, always the same. Raises UserError
    when the model cannot be loaded or reads no pictures.
    """
    log = log or Log(quiet=True)
    encoder = _random_encoder() if model is None else open_encoder(load(model), device)
    noise = np.random.default_rng(0).integers(0, 256, (_NUM_PICTURES, _SIDE, _SIDE, 3), np.uint8)
    pixels = encoder.read(list(noise))
    with torch.inference_mode():
        exact = encoder.finish(encoder.network(*pixels).float())
    shape = "the shape of CLIP ViT-B/32, random weights" if model is None else str(model)
    findings: dict[str, Any] = {
        "encoder": f"{shape}; {_NUM_PICTURES} pictures of noise at once, {counted(device.num_threads, 'CPU thread')}"
    }
    for precision in PRECISIONS:
        backends: list[Backend] = [backend for backend in TRIED if exists(backend, precision)]
        log.stage("Try", f"{', '.join(backends)} in {precision}")
        trials = choose(encoder.network, pixels, precision, backends)
        findings |= {f"{one.backend} {precision}": _told(one, encoder, pixels, exact, precision) for one in trials}
        taken = next((one.backend for one in trials if one.prepared is not None and one.backend in QUICK), None)
        findings[f"auto {precision}"] = f"takes {taken}" if taken else "has nothing to take"
    return findings


def _told(
    trial: Trial,
    encoder: ImageEncoder,
    pixels: tuple[torch.Tensor, ...],
    exact: torch.Tensor,
    precision: Precision,
) -> str:
    if trial.prepared is None or trial.seconds is None:
        return trial.refused or ""
    with torch.inference_mode():
        cosine = float(F.cosine_similarity(encoder.finish(trial.prepared(*pixels)), exact, dim=1).min())
    noise = " on noise, by which its ranges were taken too: real pictures may fare otherwise"
    told = f"{_NUM_PICTURES / trial.seconds:.1f} images a second, cosine to fp32 {cosine:.5f}"
    return told + (noise if precision == "int8" else "")


def _random_encoder() -> ImageEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tower = ImageTower(PRESETS[_SHAPE].image).eval()
    config = PixelConfig(size=_SIDE)
    return ImageEncoder(lambda images: (prepare(images, config),), tower, Unit())
