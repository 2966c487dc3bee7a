"""`doctor`: what this machine has, what will be used and what is missing, checked by doing it."""

from __future__ import annotations

import importlib.util
import time
from typing import Any

import torch

from beholder.pretrained.catalogue import efficientnet_lite0
from beholder.runtime.device import pick_device
from beholder.runtime.energy import measured
from beholder.runtime.machine import machine
from beholder.types import UserError
from beholder.version import VERSION

EXTRAS = {"tables": "pyarrow", "medical": "pydicom", "examples": "elpv_dataset"}
_NUM_IMAGES = 8


def doctor(device: str = "auto") -> dict[str, Any]:
    """Findings by name, all plain values. Raises UserError when the device asked for is not here."""
    picked = pick_device(device)
    findings: dict[str, Any] = {"beholder": VERSION, **machine(picked)}
    try:
        backbone = efficientnet_lite0().folded().to(picked.torch_device)
    except UserError as error:
        return {**findings, "generic weights": str(error)}
    pixels = torch.zeros(_NUM_IMAGES, 3, 224, 224, device=picked.torch_device)
    with torch.inference_mode(), picked.autocast():
        backbone(pixels)
        with measured() as costs:
            began = time.perf_counter()
            backbone(pixels).summary.sum().item()
            seconds = time.perf_counter() - began
    findings["generic weights"] = "EfficientNet-Lite0 (ImageNet, Apache-2.0): found, hash right"
    findings["speed"] = f"{_NUM_IMAGES / seconds:.0f} images a second at 224 pixels"
    findings["energy"] = costs[0].joules_source
    for extra, module in EXTRAS.items():
        is_here = importlib.util.find_spec(module) is not None
        findings[f"[{extra}]"] = "installed" if is_here else f"not installed: pip install 'beholder[{extra}]'"
    return findings
