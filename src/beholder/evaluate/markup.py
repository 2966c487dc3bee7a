"""HTML and SVG as nested function calls: what is not already markup is escaped, so data cannot become code."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Any

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VOID = frozenset({"br", "hr", "img", "link", "meta"})


class Markup(str):
    """Text that is already HTML and is not escaped again."""

    __slots__ = ()


Child = Markup | str | int | None | Iterable[Any]  # of children, to any depth
Attribute = str | int | float | bool | None


def escape(text: str) -> Markup:
    """`text` as HTML that shows it: safe between tags and in quoted attributes, unprintable characters replaced."""
    return Markup(html.escape(_UNPRINTABLE.sub("\ufffd", text), quote=True))


def join(*children: Child) -> Markup:
    """The children one after the other: None vanishes, nested iterables are laid flat, plain text is escaped."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str | int):
            parts.append(escape(str(child)))
        else:
            parts.append(join(*child))
    return Markup("".join(parts))


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """The element `name`; `class_` and `aria_label` become `class` and `aria-label`, None and False are left out.

    Numbers are rounded to two decimals, which is finer than a pixel and keeps charts small.
    """
    written = "".join(
        f" {_attribute_name(key)}" if value is True else f' {_attribute_name(key)}="{_attribute_text(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        assert not children, f"<{name}> holds nothing"
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def _attribute_name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _attribute_text(value: str | int | float) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return value if isinstance(value, Markup) else escape(str(value))
