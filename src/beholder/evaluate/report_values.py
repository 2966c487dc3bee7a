"""Reading results in which any value may be missing, and writing quantities the way a person says them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Number = int | float

ABSENT = "–"
_SPACE = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"


def dig(value: Any, *path: str) -> Any:
    """What lies at `path` in nested objects; None as soon as a step is missing."""
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def number(value: Any, *path: str) -> float | None:
    """A finite number, or None."""
    found = dig(value, *path)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return None
    return float(found)


def words(value: Any, *path: str) -> str | None:
    """A text that says something, or None; numbers are written out."""
    found = dig(value, *path)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return None
    return str(found).strip() or None


def records(value: Any, *path: str) -> list[Mapping[str, Any]]:
    """The objects of a list; anything else in it is dropped."""
    return [item for item in elements(value, *path) if isinstance(item, Mapping)]


def elements(value: Any, *path: str) -> list[Any]:
    """A list, empty when there is none."""
    found = dig(value, *path)
    return list(found) if isinstance(found, list | tuple) else []


def numbers(value: Any, *path: str) -> list[float | None]:
    """A list of numbers with None in the place of each gap."""
    return [number(item) for item in elements(value, *path)]


def texts(value: Any, *path: str) -> list[str]:
    """The texts of a list; gaps are dropped."""
    return [item for item in map(words, elements(value, *path)) if item is not None]


def counts(value: Any, *path: str) -> dict[str, float]:
    """An object of counts, without the gaps."""
    found = dig(value, *path)
    if not isinstance(found, Mapping):
        return {}
    return {str(name): count for name, item in found.items() if (count := number(item)) is not None and count >= 0}


def interval(value: Any, *path: str) -> tuple[float, float] | None:
    """Two numbers, the lower one first, or None."""
    found = numbers(value, *path)
    if len(found) != 2 or found[0] is None or found[1] is None:
        return None
    return min(found[0], found[1]), max(found[0], found[1])


def say_count(value: Number | None) -> str:
    return ABSENT if value is None else f"{value:,.0f}"


def say_things(value: Number | None, singular: str, plural: str | None = None) -> str:
    """A count with its noun: "1 image", "1,204 images"."""
    noun = singular if value == 1 else plural or f"{singular}s"
    return f"{say_count(value)}{_SPACE}{noun}"


def say_score(value: Number | None) -> str:
    return ABSENT if value is None else f"{value:.3f}".replace("-", _MINUS)


def say_points(value: Number | None) -> str:
    """A difference of scores in hundredths, with its sign."""
    if value is None:
        return ABSENT
    text = f"{value * 100:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", _MINUS)


def say_percent(share: Number | None) -> str:
    """A share as percent; one decimal where whole percents would hide the difference, never a false 0 or 100."""
    if share is None:
        return ABSENT
    percent = share * 100
    if 0 < percent < 0.05 or 99.95 <= percent < 100:
        return f"{'< 0.1' if percent < 1 else '> 99.9'}{_SPACE}%".replace(" ", _SPACE)
    is_fine = 0 < abs(percent) < 2 or 98 < percent < 100
    text = f"{percent:.1f}" if is_fine and abs(percent - round(percent)) > 0.049 else f"{percent:.0f}"
    return f"{text}{_SPACE}%".replace("-", _MINUS)


def say_times(ratio: Number | None) -> str:
    if ratio is None:
        return ABSENT
    return f"{ratio:.0f}×" if ratio >= 9.95 else f"{ratio:.1f}×"


def say_seconds(seconds: Number | None) -> str:
    if seconds is None:
        return ABSENT
    if seconds < 1:
        return f"{seconds * 1000:.0f}{_SPACE}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}{_SPACE}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{_SPACE}s"
    if whole < 600:
        return f"{whole // 60}{_SPACE}min{_SPACE}{whole % 60:02d}{_SPACE}s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes}{_SPACE}min"
    return f"{minutes // 60}{_SPACE}h{_SPACE}{minutes % 60:02d}{_SPACE}min"


def say_joules(joules: Number | None) -> str:
    return ABSENT if joules is None else _scaled(joules, 1000, ("J", "kJ", "MJ", "GJ"))


def say_bytes(size: Number | None) -> str:
    return ABSENT if size is None else _scaled(size, 1000, ("B", "kB", "MB", "GB", "TB"))


def _scaled(value: Number, base: int, units: tuple[str, ...]) -> str:
    place = 0
    while abs(value) >= base and place < len(units) - 1:
        value, place = value / base, place + 1
    decimals = 0 if (place == 0 and abs(value) >= 10) or abs(value) >= 100 else 1
    return f"{value:,.{decimals}f}{_SPACE}{units[place]}"
