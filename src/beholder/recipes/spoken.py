"""A configuration as the command line would say it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any


def spoken(asked: Any, usual: Any, fields: Iterable[str], always: Collection[str] = ()) -> list[str]:
    """The options of those fields that were asked for beside the defaults, and of those that are `always` said."""
    words: list[str] = []
    for field in fields:
        value = getattr(asked, field)
        if value == getattr(usual, field) and field not in always:
            continue
        values = value if isinstance(value, tuple) else (value,)
        told = [f"{one:g}" if isinstance(one, float) else str(one) for one in values]
        words += ["--" + field.replace("_", "-"), *([] if value is True else told)]
    return words
