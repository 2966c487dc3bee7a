"""How good the model is with few labels: the label-efficiency curve, the labels saved, and what a lazy split hides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from beholder.evaluate.chart_tables import Scale, bar_track, data_table, dot_track, signed_track
from beholder.evaluate.charts import Axes, Level, Line, line_chart, swatch
from beholder.evaluate.markup import Child, Markup, join, tag
from beholder.evaluate.report_section import Section, folded, note, part, prose, section
from beholder.evaluate.report_values import (
    ABSENT,
    interval,
    number,
    numbers,
    records,
    say_count,
    say_percent,
    say_points,
    say_score,
    say_times,
    texts,
    words,
)

_TICKS = (0.01, 0.02, 0.05, 0.10, 0.25, 0.50, 1.0)
_COLOURS = {"trivial": "trivial", "last layer": "last-layer", "generic": "generic", "adapted": "adapted"}


def curve_section(results: Mapping[str, Any]) -> Section | None:
    """The curve with its numbers; None when nothing was measured."""
    fractions = numbers(results, "curve", "fractions")
    order = sorted(
        (fraction, index) for index, fraction in enumerate(fractions) if fraction is not None and 0 < fraction <= 1
    )
    lines = _lines(results, [index for _, index in order])
    if not order or not lines:
        return None
    metric = words(results, "curve", "metric") or "Score"
    axes = _axes(results, order, metric)
    reference = number(results, "labels_saved", "level")
    level = Level(reference, f"{_reference_name(results)}: {say_score(reference)}") if reference is not None else None
    described = f"{metric} by share of labels for {len(lines)} methods: " + "; ".join(
        f"{line.title} {axes.write(known[-1])}"
        for line in lines
        if (known := [v for v in line.values if v is not None])
    )
    wide = line_chart(lines, axes, width=1000, height=520, description=described, level=level)
    middle = line_chart(lines, axes, width=720, height=480, description=described, level=level)
    narrow = line_chart(lines, axes, width=380, height=360, description=described, level=level, has_end_labels=False)
    figure = tag(
        "figure",
        tag("div", wide, class_="wide-only"),
        tag("div", middle, class_="middle-only"),
        tag("div", narrow, _legend(lines, axes), class_="narrow-only"),
        _caption(results, lines, level),
        class_="curve",
    )
    return section(
        "curve",
        "Few labels",
        "How good it gets with few labels",
        "Further left means fewer labelled images; higher is better. A method is worth having when its line is high "
        "on the left.",
        figure,
        _left_out(results),
        folded("The numbers behind the curve", _table(lines, axes, metric)),
        _saved(results),
        _sentences(results),
        _random_split(results),
    )


def _lines(results: Mapping[str, Any], order: Sequence[int]) -> list[Line]:
    lines: list[Line] = []
    used: dict[str, int] = {}
    for arm in records(results, "curve", "arms"):
        values = _ordered(numbers(arm, "values"), order)
        if all(value is None for value in values):
            continue
        colour = _COLOURS.get(words(arm, "kind") or "", "other")
        shape = used.get(colour, 0)
        used[colour] = shape + 1
        title = words(arm, "title") or words(arm, "name") or "unnamed"
        low, high = _ordered(numbers(arm, "low"), order), _ordered(numbers(arm, "high"), order)
        is_picked = arm.get("picked") is True
        has_band = not is_picked and words(arm, "kind") in ("generic", "adapted")
        lines.append(Line(title, values, low, high, colour, is_picked, shape, has_band))
    return lines


def _ordered(values: Sequence[float | None], order: Sequence[int]) -> list[float | None]:
    return [values[index] if index < len(values) else None for index in order]


def _axes(results: Mapping[str, Any], order: Sequence[tuple[float, int]], metric: str) -> Axes:
    counts = numbers(results, "curve", "counts")
    places = [fraction for fraction, _ in order]
    count_at = {fraction: counts[index] if index < len(counts) else None for fraction, index in order}
    tick_places = [tick for tick in _TICKS if tick in places] or places
    ticks = [
        (place, say_percent(place), "" if count_at.get(place) is None else say_count(count_at[place]))
        for place in tick_places
    ]
    tell = [
        f"{say_percent(place)} of labels"
        + ("" if count_at[place] is None else f", {say_count(count_at[place])} images")
        for place in places
    ]
    return Axes(places, ticks, is_logarithmic=True, y_title=metric, write=say_score, tell=tell)


def _legend(lines: Sequence[Line], axes: Axes) -> Markup:
    items = []
    for line in lines:
        known = [value for value in line.values if value is not None]
        items.append(tag("li", swatch(line), tag("span", line.title), tag("b", axes.write(known[-1]))))
    return tag("ul", items, class_="legend")


def _caption(results: Mapping[str, Any], lines: Sequence[Line], level: Level | None) -> Markup:
    said = ["Across: share of the labels, and how many labelled images that is."]
    if any(low is not None for line in lines for low in line.low):
        others = "" if all(line.has_band for line in lines) else "; those of the other lines stand in the table"
        said.append(f"Bands: 95 % intervals{others}.")
    if any(line.is_dashed for line in lines):
        said.append("Dashed: the images to label were picked by the model; solid: drawn at random.")
    if level:
        said.append(f"Dotted: {level.title}.")
    seeds = number(results, "curve", "num_seeds")
    if seeds is not None and seeds > 1:
        said.append(f"Each point is the mean of {say_count(seeds)} draws of labels.")
    return tag("figcaption", " ".join(said))


def _reference_name(results: Mapping[str, Any]) -> str:
    reference = words(results, "labels_saved", "reference")
    titles = {words(arm, "name"): words(arm, "title") for arm in records(results, "curve", "arms")}
    named = titles.get(reference) or reference
    return f"{named} with all labels" if named else "the reference with all labels"


def _left_out(results: Mapping[str, Any]) -> Child:
    said = [
        f"{say_percent(number(row, 'fraction'))}: {words(row, 'reason')}"
        for row in records(results, "curve", "left_out")
        if words(row, "reason")
    ]
    return note("Left out: ", "; ".join(said).rstrip("."), ".") if said else None


def _table(lines: Sequence[Line], axes: Axes, metric: str) -> Markup:
    rows = []
    for line in lines:
        cells: list[Child] = [join(line.title, tag("small", " picked") if line.is_dashed else None)]
        for index, value in enumerate(line.values):
            low = line.low[index] if index < len(line.low) else None
            high = line.high[index] if index < len(line.high) else None
            ends = f"{say_score(low)} to {say_score(high)}" if low is not None and high is not None else None
            cells.append([say_score(value), tag("small", ends) if ends else None])
        rows.append(cells)
    columns = ["Method", *(say_percent(place) for place in axes.places)]
    return data_table(f"{metric} by share of labels", columns, rows, numeric=range(1, len(columns)))


def _saved(results: Mapping[str, Any]) -> Child:
    rows = records(results, "labels_saved", "rows")
    sentence = words(results, "labels_saved", "sentence")
    shares = _shares(results)
    if not (rows or sentence or shares):
        return None
    ratios = [value for row in rows for value in (number(row, "ratio"), *(interval(row, "interval") or ())) if value]
    scale = Scale(min([1.0, *ratios]), max([2.0, *ratios]))
    colours = {words(arm, "name"): _COLOURS.get(words(arm, "kind") or "") for arm in records(results, "curve", "arms")}
    most = max((count for count in numbers(results, "curve", "counts") if count is not None), default=None)
    cells = [_saved_row(row, scale, colours.get(words(row, "name")) or "other", most) for row in rows]
    columns = ["Method", "Labels needed", "Times fewer", "95 % interval"]
    level = number(results, "labels_saved", "level")
    aim = f"the score {say_score(level)} of {_reference_name(results)}" if level is not None else "the same score"
    return part(
        "Labels saved",
        tag("p", prose(sentence)) if sentence else None,
        data_table("Labels saved", columns, cells, numeric=(1, 2)) if cells else None,
        note(f"Labels needed for {aim}. The upright line means that nothing is saved.") if cells else None,
        shares,
    )


def _saved_row(row: Mapping[str, Any], scale: Scale, colour: str, most: float | None) -> list[Child]:
    ratio, ends = number(row, "ratio"), interval(row, "interval")
    title = words(row, "title") or words(row, "name") or "unnamed"
    count = number(row, "count")
    told = f"{title}: {say_times(ratio)} fewer labels"
    if ends:
        told += f", 95 % interval {say_times(ends[0])} to {say_times(ends[1])}"
    if ratio is None:
        return [title, ABSENT if most is None else f"> {say_count(most)}", "not reached", ABSENT]
    track = dot_track(scale, ratio, colour=colour, told=told, weight=0.4, interval=ends, reference=1.0)
    is_bound = row.get("is_at_least") is True
    around = f"{say_times(ends[0])} to {say_times(ends[1])}" if ends else "not reached in some draws of test groups"
    return [
        title,
        ABSENT if count is None else f"{'≤ ' if is_bound else ''}{say_count(count)}",
        tag("b", f"{'≥ ' if is_bound else ''}{say_times(ratio)}"),
        tag("span", track, tag("small", around), class_="track-cell"),
    ]


def _shares(results: Mapping[str, Any]) -> Child:
    named = {
        "readout": ("reading several depths and resolutions", "last-layer"),
        "adapting": ("adapting to these images", "adapted"),
        "picking": ("picking which images to label", "generic"),
    }
    found = {key: share for key in named if (share := number(results, "labels_saved", "shares", key)) is not None}
    if not found:
        return None
    largest = max(abs(share) for share in found.values()) or 1.0
    has_losses = min(found.values()) < 0
    items = []
    for key, share in found.items():
        title, colour = named[key]
        told = f"{title}: {say_percent(share)} of the saving"
        if has_losses:
            track = signed_track(share, largest, colour=colour, told=told)
        else:
            track = bar_track(share / largest, colour=colour, told=told)
        items.append(tag("li", tag("span", title, class_="name"), track, tag("b", say_percent(share), class_="value")))
    why = note("Savings multiply, so these are shares of the logarithm.")
    return tag("div", tag("h4", "Where the saving comes from"), tag("ul", items, class_="bars"), why, class_="shares")


def _sentences(results: Mapping[str, Any]) -> Child:
    """What the features of visual sentences were worth, and whether their model knows the judged images."""
    said = texts(results, "sentences", "sentences")
    return part("Features of visual sentences", [tag("p", prose(one)) for one in said]) if said else None


def _random_split(results: Mapping[str, Any]) -> Child:
    grouped, random = number(results, "random_split", "grouped"), number(results, "random_split", "random")
    if grouped is not None and grouped == random:  # every image is a group of its own: nothing was compared
        return None
    sentence = words(results, "random_split", "sentence")
    if sentence is None:
        if grouped is None or random is None:
            return None
        sentence = f"{say_score(random)} instead of {say_score(grouped)}: {say_points(random - grouped)} points."
    return part(
        "What a random split would have claimed",
        tag("p", prose(sentence)),
        note("Both scores come from left-out images of the training part; the score on the test part is another."),
    )
