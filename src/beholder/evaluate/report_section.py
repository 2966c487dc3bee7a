"""The parts that every section of the report is built from: a heading, a sentence, figures, notes, folded details."""

from __future__ import annotations

import re
from dataclasses import dataclass

from beholder.evaluate.markup import Child, Markup, tag

_OPTION = re.compile(r"(?<![\w-])(--[a-z][\w-]*)")
_HYPHEN_FOR_MINUS = re.compile(r"(?<![\w./-])-(?=\d)")
_SIGNED_ZERO = re.compile(r"(?<![\w.])[+-](?=0\.0(?!\d))")
_PERCENT = re.compile(r"(?<=\d) ?%")


@dataclass(frozen=True)
class Section:
    """One chapter of the page."""

    name: str
    """The anchor, and the word in the table of contents when lower case words become a title."""
    title: str
    body: Markup
    short: str
    """How the table of contents calls it."""


def section(name: str, short: str, title: str, lead: Child, *children: Child) -> Section:
    """A chapter with a heading that says what was found and one paragraph that explains it."""
    heading = tag("h2", title, id=f"{name}-title")
    paragraph = tag("p", lead, class_="lead") if lead else None
    body = tag("section", heading, paragraph, children, id=name, aria_labelledby=f"{name}-title")
    return Section(name, title, body, short)


def part(title: str, *children: Child) -> Markup:
    """A titled part of a chapter."""
    return tag("div", tag("h3", title), children, class_="part")


def note(*children: Child) -> Markup:
    return tag("p", children, class_="note")


def num_shown(num: float, total: float, order: str = "") -> Child:
    """A note that a gallery is cut, and in which order; nothing where all are there."""
    return note(f"{num:,.0f} of {total:,.0f} shown{', ' * bool(order)}{order}.") if num < total else None


def folded(summary: str, *children: Child) -> Markup:
    """Details that open on a click, without script."""
    return tag("details", tag("summary", summary), children)


def name_of(key: str | None) -> Markup:
    """A file name from the data; the style sheet cuts its beginning where it is too long, the tooltip has it whole."""
    said = key or "unnamed"
    return tag("span", tag("bdi", said), class_="key", title=said)


def prose(text: str | None) -> Child:
    """A sentence of the run as a page writes it: real minus signs and none before zero, % kept with its number."""
    if text is None:
        return None
    said = _HYPHEN_FOR_MINUS.sub("\N{MINUS SIGN}", _SIGNED_ZERO.sub("", text))
    return with_options(_PERCENT.sub("\N{NO-BREAK SPACE}%", said))


def with_options(text: str) -> Child:
    """The text, in which no line ends within an `--option`."""
    pieces = _OPTION.split(text)
    return [tag("span", piece, class_="whole-word") if place % 2 else piece for place, piece in enumerate(pieces)]
