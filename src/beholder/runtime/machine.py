"""What a run ran on and with: recorded beside every figure."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from beholder.runtime.device import Device, usable_cores

_TOLD = ("torch", "numpy", "scikit-learn", "pillow", "safetensors")


def machine(device: Device) -> dict[str, Any]:
    """Device, processor, cores and the versions that decide numbers."""
    return {
        "device": device.reason,
        "processor": _processor(),
        "cores": usable_cores(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _TOLD},
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 (a device file, not a path of ours)
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
