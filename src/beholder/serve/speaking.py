"""Texts of many requests, written at once: each comes token by token, none waits for another's end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from beholder.inference.rolling import Rolling, Row
from beholder.serve.lane import Lane, Spent
from beholder.serve.refusal import busy


@dataclass
class Spoken:
    """A row whose tokens are on their way."""

    row: Row
    news: asyncio.Queue[Exception | None] = field(default_factory=asyncio.Queue)
    """Told once a token came; an exception where it cannot go on."""
    spent: Spent = field(default_factory=Spent)


class Speaking:
    """Writes for all that were begun. At most `most_rows` are written at once and `most_waiting` wait."""

    def __init__(
        self, rolling: Rolling, lane: Lane, around: Callable[[], AbstractContextManager[Any]], *, most_rows: int,
        most_waiting: int,
    ) -> None:  # fmt: skip
        """`around` is the context in which the model is run, such as a device's precision."""
        self._rolling, self._lane, self._around = rolling, lane, around
        self._most_rows, self._most_waiting = most_rows, most_waiting
        self._waiting: deque[Spoken] = deque()
        self._spoken: dict[int, Spoken] = {}
        self._dropped: list[Row] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    async def speak(self, row: Row) -> AsyncIterator[Spoken]:
        """Yields each time that `row.said` has grown. Raises Refusal (429) where too many wait, and UserError where the
        row does not fit. Whoever closes the iterator stops the row."""
        if len(self._waiting) >= self._most_waiting:
            raise busy("texts")
        one = Spoken(row)
        self._waiting.append(one)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            while True:
                error = await one.news.get()
                if error is not None:
                    raise error
                yield one
                if row.is_over:
                    return
        finally:
            if not row.is_over:
                self._dropped.append(row)
                with suppress(ValueError):
                    self._waiting.remove(one)

    async def _run(self) -> None:
        while self._waiting or self._spoken:
            room = self._most_rows - len(self._spoken)
            begun = [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]
            dropped, self._dropped = self._dropped, []
            for one in begun:
                self._spoken[id(one.row)] = one
            for row in dropped:
                self._spoken.pop(id(row), None)
            try:
                (told, refused), spent = await self._lane.run(partial(self._step, begun, dropped))
            except Exception as error:  # such as no memory: nobody is left waiting
                for one in self._spoken.values():
                    self._rolling.drop(one.row)
                    one.news.put_nowait(error)
                self._spoken.clear()
                continue
            for one, error in refused:
                self._spoken.pop(id(one.row), None)
                one.row.is_over = True
                one.news.put_nowait(error)
            for row in told:
                one = self._spoken.get(id(row))
                if one is None:
                    continue
                one.spent += spent.shared(len(told))
                one.news.put_nowait(None)
                if row.is_over:
                    del self._spoken[id(row)]

    def _step(
        self, begun: Sequence[Spoken], dropped: Sequence[Row]
    ) -> tuple[list[Row], list[tuple[Spoken, Exception]]]:  # fmt: skip
        refused: list[tuple[Spoken, Exception]] = []
        for one in begun:
            try:
                self._rolling.begin(one.row)
            except ValueError as error:
                refused.append((one, error))
        for row in dropped:
            self._rolling.drop(row)
        with self._around():
            return self._rolling.step(), refused
