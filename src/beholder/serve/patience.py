"""How long a client waits for an answer, and an answer for its client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

from starlette.requests import Request

from beholder.serve.refusal import Refusal

Result = TypeVar("Result")


async def until_gone(request: Request, work: Awaitable[Result], seconds: float) -> Result:
    """What it gives. Where the client goes away first, or the time is up, the work is cancelled, and Refusal raised."""
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((task, watcher), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if watcher.done():
            raise Refusal(499, "The client went away.")
        raise Refusal(503, f"There was no answer after {seconds:g} s; ask for less, or try again.", code="timeout",
                      retry=5)  # fmt: skip
    finally:
        for one in (task, watcher):
            one.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await one


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
