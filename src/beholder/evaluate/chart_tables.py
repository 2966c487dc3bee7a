"""Charts that are tables: dots, bars and intervals on tracks that stretch with the page, and the confusion matrix.

A track is an SVG without a view box whose places are percentages: it fits every screen and its text never shrinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from beholder.evaluate.markup import Child, Markup, join, tag
from beholder.evaluate.report_values import Number, say_count, say_percent


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` as percentages of a track, with a margin for the marks at its ends."""

    low: Number
    high: Number
    margin: Number = 3.0

    def place(self, value: Number) -> str:
        """The place of `value`, held within the track."""
        span = self.high - self.low
        share = 0.5 if span <= 0 else min(max((value - self.low) / span, 0.0), 1.0)
        return f"{self.margin + share * (100 - 2 * self.margin):.2f}%"


def dot_track(
    scale: Scale,
    value: Number | None,
    *,
    colour: str,
    told: str,
    weight: Number = 1.0,
    interval: tuple[Number, Number] | None = None,
    reference: Number | None = None,
) -> Markup:
    """A dot on a track, with an optional interval and a line to compare with; `weight` in (0, 1] is the dot's area."""
    guide = tag("line", x1="0%", x2="100%", y1=14, y2=14, class_="guide")
    against = None
    if reference is not None:
        against = tag("line", x1=scale.place(reference), x2=scale.place(reference), y1=0, y2=28, class_="reference")
    whisker = None
    if interval is not None:
        low, high = scale.place(interval[0]), scale.place(interval[1])
        whisker = tag("line", x1=low, x2=high, y1=14, y2=14, class_="whisker")
    dot = None
    if value is not None:
        dot = tag("circle", cx=scale.place(value), cy=14, r=3.5 + 5.0 * weight**0.5, class_="dot")
    mark = tag("g", whisker, dot, tag("title", told), class_=f"series {colour}")
    return tag("svg", guide, against, mark, class_="track", height=28, role="img", aria_label=told)


def bar_track(share: Number, *, colour: str, told: str, tick: Number | None = None) -> Markup:
    """A bar that fills `share` in [0, 1] of its track, with an optional tick at another share."""
    held = min(max(share, 0.0), 1.0)
    bar = tag("rect", x="0", y=8, width=f"{max(held * 100, 0.6):.2f}%", height=12, rx=3, class_="bar")
    line = None
    if tick is not None:
        at = f"{min(max(tick, 0.0), 1.0) * 100:.2f}%"
        line = tag("line", x1=at, x2=at, y1=2, y2=26, class_="reference")
    return tag(
        "svg",
        tag("rect", x="0", y=8, width="100%", height=12, rx=3, class_="groove"),
        tag("g", bar, class_=f"series {colour}"),
        line,
        tag("title", told),
        class_="track",
        height=28,
        role="img",
        aria_label=told,
    )


def signed_track(value: Number, largest: Number, *, colour: str, told: str) -> Markup:
    """A bar that goes right from the middle for a gain and left for a loss; `largest` fills half the track."""
    length = min(abs(value) / largest, 1.0) * 50 if largest > 0 else 0.0
    start = 50.0 if value >= 0 else 50.0 - length
    bar = tag("rect", x=f"{start:.2f}%", y=8, width=f"{max(length, 0.4):.2f}%", height=12, rx=3, class_="bar")
    middle = tag("line", x1="50%", x2="50%", y1=2, y2=26, class_="reference")
    body = tag("g", bar, class_=f"series {colour}")
    return tag("svg", body, middle, tag("title", told), class_="track", height=28, role="img", aria_label=told)


def stacked_bar(parts: Sequence[tuple[str, Number, str]], *, description: str) -> Markup:
    """Shares of a whole side by side; each part is a name, a count and a colour class."""
    total = sum(count for _, count, _ in parts)
    drawn: list[Markup] = []
    start = 0.0
    for name, count, colour in parts:
        width = 100 * count / total if total else 0.0
        told = f"{name}: {say_count(count)} ({say_percent(count / total if total else None)})"
        rect = tag("rect", x=f"{start:.2f}%", y=0, width=f"{width:.2f}%", height=14, class_="bar")
        drawn.append(tag("g", rect, tag("title", told), class_=f"series {colour}"))
        start += width
    return tag("svg", drawn, class_="stack", height=14, role="img", aria_label=description)


def data_table(
    caption: str, columns: Sequence[Child], rows: Sequence[Sequence[Child]], *, numeric: Sequence[int] = ()
) -> Markup:
    """A table whose first cell of each row is the row's heading; `numeric` columns are set flush right."""
    head = tag("tr", [tag("th", name, scope="col", class_=_kind(i, numeric)) for i, name in enumerate(columns)])
    body = [
        tag(
            "tr",
            [
                tag("th", cell, scope="row") if index == 0 else tag("td", cell, class_=_kind(index, numeric))
                for index, cell in enumerate(row)
            ],
        )
        for row in rows
    ]
    title = tag("caption", caption, class_="unseen")
    table = tag("table", title, tag("thead", head), tag("tbody", body))
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=caption)


def confusion_table(labels: Sequence[str], counts: Sequence[Sequence[Number | None]]) -> Markup:
    """Rows are the labels in the data, columns the answers; shading is each cell's share of its row."""
    rows: list[Markup] = []
    for index, label in enumerate(labels):
        row = [value or 0.0 for value in counts[index]] if index < len(counts) else []
        total = sum(row)
        cells = [
            tag(
                "td",
                tag("b", say_count(value)),
                tag("small", say_percent(value / total if total else None)),
                class_="right" if column == index else "wrong",
                style=f"--share:{value / total if total else 0:.3f}",
            )
            for column, value in enumerate(row)
        ]
        rows.append(tag("tr", tag("th", tag("bdi", label), scope="row"), cells))
    columns = [tag("th", tag("bdi", label), scope="col") for label in labels]
    head = tag("tr", tag("td", "label ↓ answer →", class_="corner"), columns)
    table = tag(
        "table",
        tag("caption", "Labels and answers", class_="unseen"),
        tag("thead", head),
        tag("tbody", rows),
        class_="confusion",
    )
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="Confusion matrix")


def bar_list(bars: Sequence[tuple[str, Number]], *, colour: str, total: Number | None = None) -> Markup:
    """Named counts as bars under each other, each with its number; `total` adds the share of it."""
    largest = max((count for _, count in bars), default=0.0) or 1.0
    items: list[Markup] = []
    for name, count in bars:
        said = say_count(count) + (f" · {say_percent(count / total)}" if total else "")
        told = f"{name}: {said}"
        items.append(
            tag(
                "li",
                tag("bdi", name, class_="name", title=name),
                bar_track(count / largest, colour=colour, told=told),
                tag("span", said, class_="value"),
            )
        )
    return tag("ul", items, class_="bars") if items else join()


def _kind(index: int, numeric: Sequence[int]) -> str | None:
    return "number" if index in numeric else None
