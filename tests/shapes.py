"""How annotations are checked in tests: by beartype, an int being a float as PEP 484 has it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any

from beartype import BeartypeConf, beartype

NUM_CHECKED = 20
"""Calls of a function that are checked in each test. A check costs more than a small model's layer, and tests that
build one model hundreds of times, or write token by token, spent nine tenths of their seconds on checks."""
_of_a_type = beartype(conf=BeartypeConf(is_pep484_tower=True))
_test = 0
_passed_on: set[FunctionType] = set()
"""Functions whose calls jaxtyping passes on as they are until the next test begins; binding arguments costs, too."""


def begin_test() -> None:
    """From here on the first calls are checked again."""
    global _test
    _test += 1
    while _passed_on:
        del _passed_on.pop().__no_type_check__  # type: ignore[attr-defined]


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Checks what it is called with, the first times of each test."""
    check, test, left = _of_a_type(function), -1, 0

    @wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        nonlocal test, left
        if test != _test:
            test, left = _test, NUM_CHECKED
        if left == 0:
            _pass_on(function)
            return None
        left -= 1
        return check(*args, **named)

    return call


def _pass_on(function: Callable[..., Any]) -> None:
    """`function` has the signature and the names of one of ours; those within functions are not found, and stay."""
    found: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = inspect.getattr_static(found, name, None)
    found = getattr(found, "fget", None) or getattr(found, "func", None) or getattr(found, "__func__", found)
    found = inspect.unwrap(found)
    if isinstance(found, FunctionType):
        found.__no_type_check__ = True  # type: ignore[attr-defined]
        _passed_on.add(found)
