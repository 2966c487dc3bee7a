"""Work on many items with a few threads: in order, with a bound on what is in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8

from beholder.data.decode import Limits, Unreadable, decode
from beholder.types import Sample, UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], num_in_flight: int
) -> Iterator[Result]:
    """Like `pool.map`, with a bound on what is begun and not yet taken."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= num_in_flight:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def decoded(
    samples: Iterable[Sample], limits: Limits, num_workers: int, at_least: int | None = None
) -> Iterator[UInt8[np.ndarray, "_ _ 3"]]:
    """The pixels of curated samples in order, decoded by `num_workers` threads a few images ahead.

    Raises UserError when one can no longer be read: it could when it was curated.
    """

    def work(sample: Sample) -> UInt8[np.ndarray, "_ _ 3"]:
        try:
            return decode(sample, limits, at_least)
        except Unreadable as error:
            raise UserError(
                f"{sample.key} could be read when the run was begun and now cannot ({error.reason}); "
                "restore it and run the same command again, or choose another --out."
            ) from error

    with ThreadPoolExecutor(num_workers) as pool:
        yield from map_in_order(pool, work, samples, 2 * num_workers + 2)
