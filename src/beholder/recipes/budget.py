"""What training may use, as users write it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeVar

from beholder.types import UserError

_MOST_SECONDS, _MOST_STEPS = 3.6e6, 10_000_000
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Budget:
    """Seconds to be turned into steps once, or steps outright."""

    seconds: float | None = None
    steps: int | None = None

    @property
    def is_none(self) -> bool:
        return not self.seconds and not self.steps


def parse_budget(text: str, *, needed: bool = False) -> Budget:
    """Read "90s", "5m", "1.5h", "400 steps", or "0" where none is `needed`. Raises UserError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|h|steps?|)\s*", text)
    if not found or (found[2] == "" and float(found[1]) != 0):
        rule = (
            "a time such as 90s, 5m or 2h, or '400 steps'"
            if needed
            else ("a time such as 90s, 5m or 2h, a number such as '400 steps', or 0")
        )
        raise UserError(f"--budget {text}: give {rule}.")
    number, unit = float(found[1]), found[2]
    if needed and number == 0:
        raise UserError(f"--budget {text}: nothing is learned in no time; give a time such as 5m, or '400 steps'.")
    if unit.startswith("step"):
        if not number.is_integer():
            raise UserError(f"--budget {text}: give a whole number of steps.")
        return Budget(steps=_bounded(int(number), _MOST_STEPS, text))
    seconds = number * {"s": 1, "m": 60, "h": 3600, "": 0}[unit]
    return Budget(seconds=_bounded(seconds, _MOST_SECONDS, text))


def _bounded(number: Number, most: Number, text: str) -> Number:
    if number > most:
        raise UserError(f"--budget {text}: more than a thousand hours or ten million steps is a slip of the finger.")
    return number
