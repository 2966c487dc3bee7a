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


def adds_bytes_exactly() -> bool:
    """Whether this processor adds products of bytes in 32 bits (VNNI, AMX, Arm's dot products): others do so in 16
    bits, where sums overflow."""
    told = f"{_told_by_linux('flags')} {_told_by_linux('Features')}".split()
    return bool({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"} & set(told)) or platform.machine() == "arm64"


def _processor() -> str:
    return _told_by_linux("model name") or platform.processor() or platform.machine()


def _told_by_linux(name: str) -> str:
    """Of the first processor; empty where it is not told."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 (a device file, not a path of ours)
            return next(line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == name)
    except (OSError, StopIteration):
        return ""
