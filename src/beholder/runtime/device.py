"""Choose the device and the number format once, and say why."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from beholder.types import UserError


@dataclass(frozen=True)
class Device:
    """Where tensors live and in which format the heavy products run."""

    torch_device: torch.device
    compute_dtype: torch.dtype
    """bfloat16 where the hardware multiplies it faster than float32, else float32. Weights stay float32."""
    num_threads: int
    reason: str
    """One phrase for the user, such as "CPU, 2 threads, bfloat16 (AMX)"."""

    def autocast(self) -> torch.autocast:
        """Context in which matrix products and convolutions run in `compute_dtype`."""
        return torch.autocast(
            self.torch_device.type, dtype=self.compute_dtype, enabled=self.compute_dtype != torch.float32
        )


_LIMIT_OF_CONTAINER = Path("/sys/fs/cgroup/memory.max")
MOST_THREADS = 1024
"""More are a slip of the finger, which would otherwise end in a crash of the thread library."""


def pick_device(name: str = "auto", num_threads: int | None = None) -> Device:
    """The device that `name` asks for: "auto", "cpu", "cuda", "cuda:1" or "mps".

    Sets torch's thread count to `num_threads` or to the cores that this process may use.
    Raises UserError when the device asked for is not here; nothing falls back in silence.
    """
    threads = count_threads(num_threads)
    torch.set_num_threads(threads)
    keep_freed_memory()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d{1,2})?|mps", name):  # torch knows more, such as meta, that nothing here runs on
        raise UserError(f"--device {name}: not a device; choose auto, cpu, cuda, cuda:N or mps.")
    device = torch.device(name)
    if device.type == "cuda":
        return _cuda(device, threads)
    if device.type == "mps":
        if not torch.backends.mps.is_available():
            raise UserError("--device mps: this machine has no Apple GPU that torch can use; choose --device cpu.")
        return Device(device, torch.float32, threads, "Apple GPU, float32")
    dtype = torch.bfloat16 if _cpu_multiplies_bfloat16() else torch.float32
    unit = "bfloat16 (AMX)" if dtype is torch.bfloat16 else "float32"
    return Device(device, dtype, threads, f"CPU, {threads} thread{'s' * (threads > 1)}, {unit}")


def count_threads(asked: int | None) -> int:
    """The number of threads that was asked for, or the cores that this process may use. Raises UserError for 0."""
    if asked is None:
        return usable_cores()
    if not 1 <= asked <= MOST_THREADS:
        raise UserError(
            f"--threads {asked}: a number of threads lies between 1 and {MOST_THREADS:,}; "
            "leave it out to use all cores."
        )
    return asked


def usable_cores() -> int:
    """Cores that this process may run on: the affinity mask, not the machine's count."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def whole_memory(device: torch.device) -> int | None:
    """Bytes that the device has, or that this process may use where it runs on the CPU; None where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    told = []
    with contextlib.suppress(AttributeError, ValueError, OSError):
        told.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(ValueError, OSError):  # "max" where nothing limits
        told.append(int(_LIMIT_OF_CONTAINER.read_text(encoding="ascii")))
    return min(told, default=None)


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory instead of giving it back after every large tensor.

    Each tensor above 32 MiB otherwise costs a system call and a page fault for every 4 KiB touched, which halves the
    speed of convolutions on a CPU. Returns whether the C library took the advice.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # no glibc: macOS, Windows, musl
        return False
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX of malloc.h
    return bool(mallopt(mmap_max, 0) and mallopt(trim_threshold, 2**31 - 1) and mallopt(top_pad, 64 * 2**20))


def release_freed_memory() -> None:
    """Give the memory that `keep_freed_memory` has gathered back: between stages, whose large tensors differ."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # no glibc
        ctypes.CDLL(None).malloc_trim(0)


def _cuda(device: torch.device, threads: int) -> Device:
    if not torch.cuda.is_available():
        raise UserError(
            f"--device {device}: torch finds no CUDA GPU here; choose --device cpu or install a CUDA torch."
        )
    if (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {device}: this machine has {torch.cuda.device_count()} GPU(s), counted from 0.")
    dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return Device(device, dtype, threads, f"{torch.cuda.get_device_name(device)}, {str(dtype).removeprefix('torch.')}")


def _cpu_multiplies_bfloat16() -> bool:
    """AMX only: AVX512-BF16 alone was not faster than float32 where it was measured, emulation is far slower."""
    capable = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(capable and capable())
