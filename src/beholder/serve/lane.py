"""One thread that runs all models, and what each piece of work cost: two at once would share the same cores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from beholder.runtime.energy import WATTS_PER_BUSY_CORE

Result = TypeVar("Result")


@dataclass(frozen=True)
class Spent:
    """What a piece of work, or a request's share of it, took."""

    seconds: float = 0.0
    """By the clock, of the work itself."""
    joules: float = 0.0
    """Estimated from CPU seconds, as `runtime.energy` says."""

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.seconds + other.seconds, self.joules + other.joules)

    def shared(self, count: int) -> Spent:
        return Spent(self.seconds / count, self.joules / count)


class Lane:
    """Runs one thing after the other."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="beholder-lane")

    async def run(self, work: Callable[[], Result]) -> tuple[Result, Spent]:
        """What it gives, and what it cost. Cancelling does not stop work that has begun, only the waiting for it."""

        def timed() -> tuple[Result, Spent]:
            begun, busy = time.perf_counter(), time.process_time()
            result = work()
            joules = (time.process_time() - busy) * WATTS_PER_BUSY_CORE
            return result, Spent(time.perf_counter() - begun, joules)

        return await asyncio.get_running_loop().run_in_executor(self._pool, timed)

    def close(self) -> None:
        """After what is running."""
        self._pool.shutdown(wait=True, cancel_futures=True)
