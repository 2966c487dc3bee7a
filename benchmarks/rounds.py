"""Contenders in turn, again and again, so that what else a machine does falls on all of them; medians of seconds."""

from __future__ import annotations

import gc
import re
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor, nn

from beholder.runtime.device import keep_freed_memory, release_freed_memory

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


def training_step(model: nn.Module, loss_of: Callable[[], Tensor], precision: str) -> Callable[[], float]:
    """Forward, backward and torch's fused AdamW, in "fp32" or under autocast to bfloat16; it gives the loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=True)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision != "fp32"):
            loss = loss_of()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def peak_megabytes(step: Callable[[], object]) -> float:
    """At the highest point of a second step, less what the model, the optimizer and libraries hold between steps; in
    a process of its own."""
    step()
    gc.collect()
    release_freed_memory()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest point is counted anew
    step()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    """In kilobytes."""
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found, name
    return int(found[1])


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
