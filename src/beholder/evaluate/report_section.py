"""The parts that every section of the report is built from: a heading, a sentence, figures, notes, folded details."""

from __future__ import annotations

from dataclasses import dataclass

from beholder.evaluate.markup import Child, Markup, tag


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


def folded(summary: str, *children: Child) -> Markup:
    """Details that open on a click, without script."""
    return tag("details", tag("summary", summary), children)


def name_of(key: str | None) -> Markup:
    """A file name from the data, cut by the style sheet where it is too long and whole in the tooltip."""
    said = key or "unnamed"
    return tag("bdi", said, class_="key", title=said)
