"""When memory does not suffice: how much would have, found by trying less."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from beholder.runtime.device import release_freed_memory
from beholder.types import UserError

Result = TypeVar("Result")
_TOLD_ON_CPU = "can't allocate memory"
"""Within what torch says where the system gives no more; it is a bare RuntimeError there."""


def in_memory(work: Callable[[int], Result], count: int, what: str, option: str) -> Result:
    """What `work(count)` gives. Where memory does not suffice, halves of it are tried.

    Raises UserError that tells how many of `what` would fit, and which `option` says so.
    """
    try:
        return work(count)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    fits = _largest(work, count // 2)
    if not fits:
        raise UserError(f"Not even one of the {count:,} {what} fits into memory; choose a smaller model or machine.")
    raise UserError(f"{count:,} {what} at once do not fit into memory, {fits:,} do; give {option} {fits}.")


@contextmanager
def told_of_memory(sentence: str) -> Iterator[None]:
    """Turn what a device, or the system, says when it has no more to give into a UserError with that sentence."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(sentence) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the system, had no more to give."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or _TOLD_ON_CPU in str(error)


def _largest(work: Callable[[int], object], count: int) -> int:
    """The first half, quarter, eighth that fits; 0 where none does."""
    while count:
        release_freed_memory()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            work(count)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            count //= 2
        else:
            return count
    return 0
