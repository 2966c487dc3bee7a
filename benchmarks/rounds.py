"""Contenders in turn, again and again, so that what else a machine does falls on all of them; medians of seconds."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import metadata

import torch

from beholder.runtime.device import keep_freed_memory

_PEAK_SIDE = 2048
_READ_NUMBERS = 64 * 2**20


def use_threads(count: int) -> None:
    """For all contenders; freed memory is kept for the next tensor."""
    torch.set_num_threads(count)
    keep_freed_memory()


def take_turns(
    contenders: Mapping[str, Callable[[], object]],
    num_rounds: int,
    clock: Callable[[], float] = time.process_time,
    num_warm_ups: int = 1,
) -> dict[str, list[float]]:
    """Seconds of each contender in each round; every second round goes the other way round."""
    for run in contenders.values():
        for _ in range(num_warm_ups):
            run()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(num_rounds):
        order = list(contenders) if number % 2 == 0 else list(reversed(contenders))
        for name in order:
            gc.collect()
            began = clock()
            contenders[name]()
            seconds[name].append(clock() - began)
    return seconds


def median(seconds: list[float]) -> float:
    return statistics.median(seconds)


def ratio(ours: list[float], theirs: list[float]) -> float:
    """How many times as fast ours is, as the median over rounds: both of a round met the same neighbours."""
    return statistics.median(their / our for our, their in zip(ours, theirs, strict=True))


def matrix_product(dtype: torch.dtype) -> Callable[[], object]:
    """A large square product, which is as fast as this library multiplies here; `PEAK_OPERATIONS` a call."""
    one, other = (torch.randn(_PEAK_SIDE, _PEAK_SIDE).to(dtype) for _ in range(2))
    return lambda: one @ other


PEAK_OPERATIONS = 2 * _PEAK_SIDE**3
READ_BYTES = 4 * _READ_NUMBERS


def memory_read() -> Callable[[], object]:
    """One pass over more numbers than any cache holds; `READ_BYTES` a call."""
    numbers = torch.ones(_READ_NUMBERS)
    return lambda: torch.dot(numbers, numbers)


def versions(*packages: str) -> dict[str, str]:
    """Of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def processor() -> dict[str, object]:
    from beholder.runtime.device import pick_device
    from beholder.runtime.machine import machine

    told = machine(pick_device("cpu", torch.get_num_threads()))
    return {name: told[name] for name in ("device", "processor", "cores")}
