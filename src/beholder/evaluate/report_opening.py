"""The first screen of a page about one model: a badge, what was found in one sentence, and a few large figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from beholder.evaluate.markup import Markup, tag
from beholder.evaluate.report_section import prose
from beholder.evaluate.report_values import number
from beholder.evaluate.report_verdict import figure, kicker

Mark = tuple[str, str, str]
"""Colour class, sign and words of the badge."""


def opening_of(
    results: Mapping[str, Any],
    mark: Mark,
    finding: str,
    aside: str | None,
    figures: Sequence[Markup | None],
    details: str | None = None,
) -> Markup:
    """The header. `aside` is set lighter, behind the finding; figures that are None are left out."""
    colour, sign, title = mark
    return tag(
        "header",
        kicker(results),
        tag("p", tag("span", sign, class_="sign", aria_hidden="true"), title, class_="mark"),
        tag("h1", prose(finding), " ", tag("span", prose(aside), class_="aside") if aside else None),
        tag("p", prose(details), class_="details") if details else None,
        tag("dl", [one for one in figures if one is not None], class_="figures"),
        class_=f"opening {colour}",
    )


def in_brackets(headline: str) -> tuple[str, str | None]:
    """A sentence that ends in brackets as finding and aside; a sentence without them as it is."""
    finding, _, aside = headline.rstrip(".").partition(" (")
    return (finding, f"({aside}.") if aside else (f"{finding}.", None)


def after_semicolon(headline: str) -> tuple[str, str | None]:
    """What stands before the first semicolon as finding, and what stands after it as a sentence of its own."""
    finding, _, aside = headline.partition("; ")
    return finding.rstrip(".") + ".", aside[:1].upper() + aside[1:] or None


def weights_figure(results: Mapping[str, Any], said: str) -> Markup:
    """How large the model is, in millions."""
    return figure("Weights", f"{(number(results, 'training', 'parameters') or 0) / 1e6:.1f}", said)
