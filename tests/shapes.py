"""How annotations are checked in tests: by beartype, an int being a float as PEP 484 has it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from beartype import BeartypeConf, beartype

NUM_CHECKED = 20
"""Calls of a function that are checked in each test. A check costs more than a small model's layer, and tests that
build one model hundreds of times, or write token by token, spent nine tenths of their seconds on checks."""
_of_a_type = beartype(conf=BeartypeConf(is_pep484_tower=True))
_test = 0


def begin_test() -> None:
    """From here on the first calls are checked again."""
    global _test
    _test += 1


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Checks what it is called with, the first times of each test."""
    check, test, left = _of_a_type(function), -1, 0

    @wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        nonlocal test, left
        if test != _test:
            test, left = _test, NUM_CHECKED
        if left == 0:
            return None
        left -= 1
        return check(*args, **named)

    return call
