"""What a piece of work cost: seconds, CPU seconds, joules and peak memory.

Joules are measured where the machine tells (RAPL counters for CPU packages, NVML for NVIDIA GPUs); otherwise they come
from a stated model, and the source travels with the number.
"""

from __future__ import annotations

import resource
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

WATTS_PER_BUSY_CORE = 10.0
"""The model where nothing is measured: a server or laptop core under load draws about 10 W with its share of memory
(a 280 W, 32-core package gives 9 W; a 28 W, 4-core laptop 7 W)."""

_RAPL = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Cost:
    """What a stage cost. Costs of the parts of one stage add up; peak memory takes the larger."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    joules: float = 0.0
    joules_source: str = ""
    """"measured (RAPL)", "measured (NVML)", or the model in words."""
    peak_memory_bytes: int = 0
    """Largest resident memory of the process meanwhile; where the system cannot tell that (not Linux), so far."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.joules + other.joules,
            other.joules_source or self.joules_source,
            max(self.peak_memory_bytes, other.peak_memory_bytes),
        )


class Stopwatch:
    """Runs from its creation; `cost()` tells what has been spent since."""

    _running: ClassVar[weakref.WeakSet[Stopwatch]] = weakref.WeakSet()

    def __init__(self) -> None:
        for other in self._running:  # their peak so far is forgotten next
            other._peak = max(other._peak, _resident_peak())
        self._peak = 0
        _forget_resident_peak()
        self._running.add(self)
        self._seconds = time.perf_counter()
        self._cpu_seconds = _cpu_seconds()
        self._rapl = _read_rapl()
        self._gpu = _GpuMeter()

    def cost(self) -> Cost:
        cpu_seconds = _cpu_seconds() - self._cpu_seconds
        rapl = _read_rapl()
        if rapl and self._rapl:
            joules, source = _rapl_difference(self._rapl, rapl), "measured (RAPL, whole package)"
        else:
            joules = cpu_seconds * WATTS_PER_BUSY_CORE
            source = f"estimated ({WATTS_PER_BUSY_CORE:g} W per busy CPU core)"
        gpu_joules = self._gpu.joules()
        if gpu_joules is not None:
            joules, source = joules + gpu_joules, f"GPU measured (NVML), CPU {source}"
        peak = max(self._peak, _resident_peak())
        return Cost(time.perf_counter() - self._seconds, cpu_seconds, joules, source, peak)


@contextmanager
def measured() -> Iterator[list[Cost]]:
    """`with measured() as costs: ...` then `costs[0]` is what the block cost."""
    watch, costs = Stopwatch(), []
    try:
        yield costs
    finally:
        costs.append(watch.cost())


def per_thousand(cost: Cost, count: int) -> Cost:
    """The cost of 1,000 predictions, from what `count` of them cost."""
    scale = 1000.0 / max(count, 1)
    return replace(cost, seconds=cost.seconds * scale, cpu_seconds=cost.cpu_seconds * scale, joules=cost.joules * scale)


def peak_memory_bytes() -> int:
    """Largest resident set of this process since its start."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _resident_peak() -> int:
    """Largest resident set since `_forget_resident_peak`, or since the start where the system does not tell."""
    try:
        fields = Path("/proc/self/status").read_text()
        return int(fields.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return peak_memory_bytes()


def _forget_resident_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _cpu_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _read_rapl() -> dict[Path, tuple[int, int]]:
    """Package counter file -> (microjoules now, where it wraps); empty where the counters cannot be read."""
    counters: dict[Path, tuple[int, int]] = {}
    for zone in _RAPL.glob("intel-rapl:?"):  # top-level zones are packages; their sub-zones would count twice
        try:
            now, wrap = (int((zone / name).read_text()) for name in ("energy_uj", "max_energy_range_uj"))
        except (OSError, ValueError):
            return {}
        counters[zone] = (now, wrap)
    return counters


def _rapl_difference(before: dict[Path, tuple[int, int]], after: dict[Path, tuple[int, int]]) -> float:
    return sum((after[zone][0] - now) % wrap for zone, (now, wrap) in before.items() if zone in after) / 1e6


class _GpuMeter:
    """Joules of all visible NVIDIA GPUs since creation, or None where NVML is absent."""

    _lock = threading.Lock()

    def __init__(self) -> None:
        self._before = self._read()

    def joules(self) -> float | None:
        now = self._read()
        return None if self._before is None or now is None else (now - self._before) / 1000.0

    def _read(self) -> int | None:
        try:
            import pynvml  # pyright: ignore[reportMissingImports] (comes with GPU builds of torch, never asked for)
        except ImportError:
            return None
        with self._lock:
            try:
                pynvml.nvmlInit()
                handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
                return sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles)
            except pynvml.NVMLError:
                return None
