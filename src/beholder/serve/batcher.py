"""Inputs of one kind that wait together are run together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from beholder.serve.lane import Lane, Spent
from beholder.serve.refusal import busy

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    answer: asyncio.Future[tuple[Result, Spent]]


class Batcher(Generic[Item, Result]):
    """`work` is given at most `size` inputs and gives as many results. The first of them waits `wait` seconds for
    others; while the lane is busy they gather by themselves."""

    def __init__(
        self, what: str, work: Callable[[Sequence[Item]], Iterable[Result]], lane: Lane, *, size: int, wait: float,
        most_waiting: int, on_batch: Callable[[str, int], None] = lambda what, count: None,
    ) -> None:  # fmt: skip
        self.what, self._work, self._lane = what, work, lane
        self._size, self._wait, self._most, self._on_batch = size, wait, most_waiting, on_batch
        self._queue: deque[_Waiting[Item, Result]] = deque()
        self._is_full = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def num_waiting(self) -> int:
        return len(self._queue)

    async def submit(self, items: Sequence[Item]) -> tuple[list[Result], Spent]:
        """Results in order, and what they cost. Raises Refusal (429) where too many wait; what `work` raises for an
        input is raised here, and other inputs of its batch are run again without it. Whoever is cancelled while waiting
        leaves the queue."""
        if len(self._queue) + len(items) > self._most and self._queue:
            raise busy(self.what)
        loop = asyncio.get_running_loop()
        waiting = [_Waiting[Item, Result](item, loop.create_future()) for item in items]
        self._queue.extend(waiting)
        if self._task is None or self._task.done():
            self._is_full.clear()
            self._task = asyncio.create_task(self._run())
        if len(self._queue) >= self._size:
            self._is_full.set()
        try:
            answers = await asyncio.gather(*(one.answer for one in waiting))
        finally:
            for one in waiting:
                one.answer.cancel()
        return [result for result, _ in answers], sum((spent for _, spent in answers), Spent())

    async def _run(self) -> None:
        while self._queue:
            if self._wait and len(self._queue) < self._size:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._is_full.wait(), self._wait)
            self._is_full.clear()
            batch: list[_Waiting[Item, Result]] = []
            while self._queue and len(batch) < self._size:
                one = self._queue.popleft()
                if not one.answer.done():  # whoever wanted it is still there
                    batch.append(one)
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: list[_Waiting[Item, Result]]) -> None:
        self._on_batch(self.what, len(batch))
        try:
            results, spent = await self._lane.run(lambda: list(self._work([one.item for one in batch])))
        except Exception as error:
            if len(batch) > 1:  # the mistake is one's own, and the others are answered
                for one in batch:
                    await self._answer([one])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        share = spent.shared(len(batch))
        for one, result in zip(batch, results, strict=True):
            if not one.answer.done():
                one.answer.set_result((result, share))
