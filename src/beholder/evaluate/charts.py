"""Line charts as inline SVG: label-efficiency curves with bands and end labels, training curves, sparklines.

Colours come from the style sheet through class names, so that the same drawing serves light, dark and paper.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from beholder.evaluate.markup import Child, Markup, join, tag
from beholder.evaluate.report_values import Number

Gap = Number | None
"""A value, or None where nothing was measured."""

_LABEL_LETTERS = 22
_LETTER_WIDTH = 8.3  # of the widest system font in use (bold DejaVu Sans, 13 px), so that no label is cut
_LINE_HEIGHT = 16.0
_SHAPES = ("circle", "square", "diamond", "triangle")


@dataclass(frozen=True)
class Line:
    """One line of a chart, with an optional band around it."""

    title: str
    values: Sequence[Gap]
    """One per place on the x axis."""
    low: Sequence[Gap] = ()
    high: Sequence[Gap] = ()
    colour: str = "plain"
    """A class of the style sheet that sets the colour."""
    is_dashed: bool = False
    shape: int = 0
    """Which marker the points carry, so that lines differ without colour."""
    has_band: bool = True
    """Many bands over each other only turn grey; tooltips tell the interval all the same."""
    has_stroke: bool = True
    """False: points alone, such as measurements beside the law that was fitted to them."""
    has_markers: bool = True
    """False: a stroke alone, such as a law between what was measured."""


@dataclass(frozen=True)
class Axes:
    """Where the x values lie and how both axes are written."""

    places: Sequence[Number]
    ticks: Sequence[tuple[Number, str, str]]
    """Place, label, and a second quieter line."""
    is_logarithmic: bool = False
    is_y_logarithmic: bool = False
    """For values above 0."""
    y_title: str = ""
    write: Callable[[Number], str] = "{:.3f}".format
    """How a value is told in tooltips and end labels."""
    tell: Sequence[str] = ()
    """How each place is told in tooltips."""


@dataclass(frozen=True)
class Level:
    """A horizontal line to compare with."""

    value: Number
    title: str


@dataclass(frozen=True)
class _Frame:
    """The plot area in pixels and the values at its edges."""

    left: Number
    right: Number
    top: Number
    bottom: Number
    x_range: tuple[Number, Number]
    levels: Sequence[Number]
    """Round values from the bottom to the top."""
    is_logarithmic: bool
    is_y_logarithmic: bool = False

    def x(self, place: Number) -> float:
        first, last = self.x_range
        if self.is_logarithmic:
            place, first, last = math.log(place), math.log(first), math.log(last)
        return self.left + (place - first) / (last - first) * (self.right - self.left)

    def y(self, value: Number) -> float:
        low, high = self.levels[0], self.levels[-1]
        if self.is_y_logarithmic:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)


def line_chart(
    lines: Sequence[Line],
    axes: Axes,
    *,
    width: int,
    height: int,
    description: str,
    has_end_labels: bool = True,
    has_markers: bool = True,
    level: Level | None = None,
) -> Markup:
    """Lines with bands over common places; end labels are spread so that none covers another.

    Tooltips are `<title>` elements, so that they need no script. `description` is the text alternative.
    """
    frame = _frame(lines, axes, width, height, has_end_labels, level)
    drawn = [
        _grid(frame, axes),
        _level(frame, level) if level else None,
        [_band(frame, axes, line) for line in lines],
        [_stroke(frame, axes, line) for line in lines if line.has_stroke],
        [_markers(frame, axes, line) for line in lines if line.has_markers] if has_markers else None,
        _end_labels(frame, axes, lines) if has_end_labels else None,
    ]
    return tag("svg", drawn, class_="chart", viewBox=f"0 0 {width} {height}", role="img", aria_label=description)


def sparkline(values: Sequence[Gap], *, colour: str, description: str, width: int = 260, height: int = 44) -> Markup:
    """A small line without axes that ends in a dot."""
    known = [value for value in values if value is not None]
    if not known:
        return join()
    axes = Axes(places=[float(place) for place in range(len(values))], ticks=())
    frame = _Frame(4, width - 6, 5, height - 5, (0, max(len(values) - 1, 1)), _padded(known, 0.0), False)
    last = max(place for place, value in enumerate(values) if value is not None)
    dot = tag("circle", cx=frame.x(last), cy=frame.y(known[-1]), r=3.5, class_="dot")
    stroke = _stroke(frame, axes, Line("", values, colour=colour))
    body = tag("g", stroke, dot, class_=f"series {colour}")
    return tag("svg", body, class_="sparkline", viewBox=f"0 0 {width} {height}", role="img", aria_label=description)


def swatch(line: Line) -> Markup:
    """The line's stroke and marker as a key for a legend."""
    stroke = tag("line", x1=1, x2=33, y1=8, y2=8, class_="stroke dashed" if line.is_dashed else "stroke")
    marker = _marker(line.shape, 17.0, 8.0)
    shown = (stroke if line.has_stroke else None, marker if line.has_markers else None)
    body = tag("g", shown, class_=f"series {line.colour}")
    return tag("svg", body, class_="swatch", viewBox="0 0 34 16", width=34, height=16, aria_hidden="true")


def spread(wanted: Sequence[Number], sizes: Sequence[Number], top: Number, bottom: Number) -> list[Number]:
    """Centres near `wanted` such that intervals of `sizes` do not overlap and stay within top and bottom if they fit.

    Pools neighbours that collide and centres each pool on the mean of what its members wanted, which is the
    least-squares answer (pool adjacent violators).
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    pools: list[tuple[list[int], Number, Number]] = []  # members, start, size
    for index in order:
        pool = ([index], _clamped(wanted[index] - sizes[index] / 2, sizes[index], top, bottom), sizes[index])
        while pools and pools[-1][1] + pools[-1][2] > pool[1]:
            members = pools.pop()[0] + pool[0]
            size = sum(sizes[member] for member in members)
            offsets = itertools.accumulate((sizes[member] for member in members), initial=0.0)
            starts = [
                wanted[member] - sizes[member] / 2 - offset for member, offset in zip(members, offsets, strict=False)
            ]
            pool = (members, _clamped(sum(starts) / len(starts), size, top, bottom), size)
        pools.append(pool)
    centres = [0.0] * len(wanted)
    for members, start, _ in pools:
        for member in members:
            centres[member] = start + sizes[member] / 2
            start += sizes[member]
    return centres


def nice_ticks(low: Number, high: Number, target: int = 6) -> list[Number]:
    """Round values from at most `low` to at least `high`, about `target` of them: steps of 1, 2 or 5 times 10^n."""
    assert high > low, "an axis has a length"
    rough = (high - low) / target
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _frame(
    lines: Sequence[Line], axes: Axes, width: int, height: int, has_end_labels: bool, level: Level | None
) -> _Frame:
    known = [value for line in lines for value in (*line.values, *line.low, *line.high) if value is not None]
    if level:
        known.append(level.value)
    levels = nice_ticks(*_padded(known or [0.0, 1.0], 0.0))
    if axes.is_y_logarithmic:  # a round 0 below the lowest value has no place
        levels = [value for value in levels if value > 0]
        levels = levels if levels[0] <= min(known) else [min(known), *levels]
    first, last = min(axes.places, default=1.0), max(axes.places, default=1.0)
    if first == last:
        first, last = (first / 1.5, last * 1.5) if axes.is_logarithmic else (first - 1, last + 1)
    longest = max((len(row) for line in lines for row in _label_rows(axes, line)), default=0)
    right = width - (30 + longest * _LETTER_WIDTH if has_end_labels and longest else 24)
    foot = 52 if any(quieter for _, _, quieter in axes.ticks) else 34
    return _Frame(46, right, 34, height - foot, (first, last), levels, axes.is_logarithmic, axes.is_y_logarithmic)


def _padded(values: Sequence[Number], share: Number) -> tuple[Number, Number]:
    low, high = min(values), max(values)
    margin = (high - low) * share or (0.0 if high > low else max(abs(high), 1.0) * 0.05)
    padded_low, padded_high = low - margin, high + margin
    if low >= 0 and high <= 1 and high > low:  # scores and shares end at 0 and 1
        return max(padded_low, 0.0), min(padded_high, 1.0)
    return padded_low, padded_high


def _grid(frame: _Frame, axes: Axes) -> Markup:
    decimals = max(len(f"{value:.6f}".rstrip("0").partition(".")[2]) for value in frame.levels)
    rows = [
        join(
            tag("line", x1=frame.left, x2=frame.right, y1=frame.y(value), y2=frame.y(value), class_="grid"),
            tag("text", f"{value:.{decimals}f}", x=frame.left - 10, y=frame.y(value) + 4, class_="tick y"),
        )
        for value in frame.levels
    ]
    columns = [
        join(
            tag("line", x1=frame.x(place), x2=frame.x(place), y1=frame.bottom, y2=frame.bottom + 6, class_="mark"),
            tag("text", label, x=frame.x(place), y=frame.bottom + 23, class_="tick x"),
            tag("text", quieter, x=frame.x(place), y=frame.bottom + 41, class_="tick x quiet") if quieter else None,
        )
        for place, label, quieter in axes.ticks
    ]
    title = tag("text", axes.y_title, x=0, y=14, class_="axis-title") if axes.y_title else None
    return tag("g", title, rows, columns, class_="axes")


def _level(frame: _Frame, level: Level) -> Markup:
    y = frame.y(level.value)
    return tag("g", tag("line", x1=frame.left, x2=frame.right, y1=y, y2=y), tag("title", level.title), class_="level")


def _band(frame: _Frame, axes: Axes, line: Line) -> Child:
    edges = [
        (frame.x(place), frame.y(low), frame.y(high))
        for place, low, high in zip(axes.places, line.low, line.high, strict=False)
        if low is not None and high is not None
    ]
    if len(edges) < 2 or not line.has_band:
        return None
    there = [f"{x:.1f},{low:.1f}" for x, low, _ in edges]
    back = [f"{x:.1f},{high:.1f}" for x, _, high in reversed(edges)]
    return tag("polygon", points=" ".join(there + back), class_=f"band series {line.colour}")


def _stroke(frame: _Frame, axes: Axes, line: Line) -> Markup:
    points = [
        f"{frame.x(place):.1f},{frame.y(value):.1f}"
        for place, value in zip(axes.places, line.values, strict=False)
        if value is not None
    ]
    kind = "stroke dashed" if line.is_dashed else "stroke"
    return tag("polyline", points=" ".join(points), class_=f"{kind} series {line.colour}")


def _markers(frame: _Frame, axes: Axes, line: Line) -> Markup:
    drawn: list[Markup] = []
    for index, (place, value) in enumerate(zip(axes.places, line.values, strict=False)):
        if value is None:
            continue
        x, y = frame.x(place), frame.y(value)
        told = f"{line.title}: {axes.write(value)}"
        if index < len(axes.tell):
            told += f" at {axes.tell[index]}"
        low, high = _at(line.low, index), _at(line.high, index)
        if low is not None and high is not None:
            told += f" (95 % interval {axes.write(low)} to {axes.write(high)})"
        target = tag("circle", cx=x, cy=y, r=12, class_="target")
        drawn.append(tag("g", _marker(line.shape, x, y), target, tag("title", told), class_="point"))
    return tag("g", drawn, class_=f"series {line.colour}")


def _marker(shape: int, x: Number, y: Number) -> Markup:
    name = _SHAPES[shape % len(_SHAPES)]
    if name == "circle":
        return tag("circle", cx=x, cy=y, r=4.5, class_="dot")
    if name == "square":
        return tag("rect", x=x - 4, y=y - 4, width=8, height=8, class_="dot")
    corners = {"diamond": ((0, -6), (6, 0), (0, 6), (-6, 0)), "triangle": ((0, -5.5), (5.5, 4), (-5.5, 4))}[name]
    return tag("polygon", points=" ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners), class_="dot")


def _end_labels(frame: _Frame, axes: Axes, lines: Sequence[Line]) -> Markup:
    ends = [(line, *end) for line in lines if (end := _end(frame, axes, line)) is not None]
    rows = [_label_rows(axes, line) for line, _, _ in ends]
    sizes = [len(row) * _LINE_HEIGHT + 5 for row in rows]
    centres = spread([y for _, _, y in ends], sizes, 4.0, frame.bottom + 30)
    return tag(
        "g",
        [
            _end_label(frame, line, label, (x, y), centre)
            for (line, x, y), label, centre in zip(ends, rows, centres, strict=True)
        ],
        class_="end-labels",
    )


def _end_label(frame: _Frame, line: Line, rows: Sequence[str], end: tuple[Number, Number], centre: Number) -> Markup:
    start = frame.right + 22
    leader = tag("path", d=f"M{end[0] + 7:.1f} {end[1]:.1f}L{start - 5:.1f} {centre:.1f}", class_="leader")
    first = centre - len(rows) * _LINE_HEIGHT / 2 + 12
    spans = [tag("tspan", row, x=start, y=first + index * _LINE_HEIGHT) for index, row in enumerate(rows)]
    return tag("g", leader, tag("text", spans), class_=f"end-label series {line.colour}")


def _end(frame: _Frame, axes: Axes, line: Line) -> tuple[Number, Number] | None:
    known = [(place, value) for place, value in zip(axes.places, line.values, strict=False) if value is not None]
    return (frame.x(known[-1][0]), frame.y(known[-1][1])) if known else None


def _label_rows(axes: Axes, line: Line) -> list[str]:
    known = [value for value in line.values if value is not None]
    if not known:
        return []
    rows = textwrap.wrap(line.title, _LABEL_LETTERS, max_lines=2, placeholder=" …") or [""]
    return [*rows[:-1], f"{rows[-1]} {axes.write(known[-1])}".strip()]


def _at(values: Sequence[Gap], index: int) -> Gap:
    return values[index] if index < len(values) else None


def _clamped(start: Number, size: Number, top: Number, bottom: Number) -> float:
    return max(top, min(start, bottom - size))
