"""How the run went and how to repeat it: training curves, cost, settings, and a glossary in plain sentences."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from beholder.evaluate.chart_tables import bar_track, data_table
from beholder.evaluate.charts import Axes, Line, line_chart, nice_ticks, sparkline
from beholder.evaluate.markup import Child, Markup, tag
from beholder.evaluate.report_section import Section, note, part, section
from beholder.evaluate.report_values import (
    dig,
    elements,
    number,
    numbers,
    records,
    say_bytes,
    say_count,
    say_joules,
    say_seconds,
    say_things,
    words,
)

_MOST_POINTS = 200
_GLOSSARY = (
    (
        "AUC",
        "Take one image of each of two classes at random: the AUC is how often the model ranks them the right way "
        "round, so 0.5 is guessing and 1 is perfect.",
    ),
    (
        "95 % interval",
        "If everything were done again with other images of the same kind, the true value would lie in such an "
        "interval about 95 times out of 100.",
    ),
    (
        "Group",
        "Images that belong together, such as those of one patient or one machine; a group is never split between "
        "learning and judging, so the score tells how the model does on new groups.",
    ),
    (
        "Generic and adapted features",
        "Generic features come from a model that saw everyday pictures; adapted features come from the same model "
        "after it studied these images without any labels.",
    ),
    (
        "No difference",
        "The interval of the change includes zero: a gain may exist, but it is too small for this data to show.",
    ),
)


def training_section(results: Mapping[str, Any]) -> Section | None:
    """The loss and the probes over the steps; None when nothing was trained."""
    losses = _points(results, "training", "losses")
    probes = [
        (words(probe, "name") or "probe", _points(probe, "values")) for probe in records(results, "training", "probes")
    ]
    probes = [(name, points) for name, points in probes if points]
    sentence = _trained(results)
    if not losses and not probes and sentence is None:
        return None
    return section(
        "training",
        "Training",
        "How the learning went",
        sentence,
        _loss(losses),
        _probes(probes),
    )


def _trained(results: Mapping[str, Any]) -> str | None:
    backbone, objective = words(results, "training", "backbone"), words(results, "training", "objective")
    steps, seconds = number(results, "training", "steps"), number(results, "training", "seconds")
    stopped = words(results, "training", "stopped")
    said: list[str] = []
    if backbone or objective:
        said.append(
            (backbone or "The model") + (f" studied the images by {objective}." if objective else " was adapted.")
        )
    if steps is not None:
        said.append(say_things(steps, "step") + (f" in {say_seconds(seconds)}." if seconds is not None else "."))
    if stopped:
        said.append(f"Stopped early: {stopped.rstrip('.')}.")
    return " ".join(said) or None


def _points(value: Any, *path: str) -> list[tuple[float, float]]:
    pairs = (numbers(point) for point in elements(value, *path))
    return sorted(
        (pair[0], pair[1]) for pair in pairs if len(pair) == 2 and pair[0] is not None and pair[1] is not None
    )


def _loss(points: list[tuple[float, float]]) -> Child:
    if len(points) < 2:
        return None
    steps, means, lows, highs = _thinned(points)
    line = Line("Loss", means, lows, highs, "generic")
    last = steps[-1]
    ticks = [(tick, say_count(tick), "") for tick in nice_ticks(0, max(last, 1), 4) if steps[0] <= tick <= last]
    axes = Axes(steps, ticks, y_title="Loss", write="{:.3g}".format)
    described = f"Training loss from {means[0]:.3g} at step {steps[0]:.0f} to {means[-1]:.3g} at step {last:.0f}"
    charts = [
        tag(
            "div",
            line_chart(
                [line], axes, width=width, height=height, description=described, has_end_labels=False, has_markers=False
            ),
            class_=kind,
        )
        for width, height, kind in ((1000, 340, "wide-only"), (720, 320, "middle-only"), (380, 280, "narrow-only"))
    ]
    said = "Across: training steps."
    if lows:
        said += " The line is the mean and the band the range of neighbouring steps."
    return tag("figure", charts, tag("figcaption", said), class_="curve")


def _thinned(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float], list[float], list[float]]:
    """At most 200 points: neighbours are averaged, and their range is kept as a band."""
    if len(points) <= _MOST_POINTS:
        return [step for step, _ in points], [value for _, value in points], [], []
    edges = [round(index * len(points) / _MOST_POINTS) for index in range(_MOST_POINTS + 1)]
    bins = [points[start:end] for start, end in itertools.pairwise(edges)]
    values = [[value for _, value in part_of] for part_of in bins]
    return (
        [part_of[-1][0] for part_of in bins],
        [sum(some) / len(some) for some in values],
        [min(some) for some in values],
        [max(some) for some in values],
    )


def _probes(probes: list[tuple[str, list[tuple[float, float]]]]) -> Child:
    if not probes:
        return None
    items = []
    for name, points in probes:
        values = [value for _, value in points]
        told = f"{name}: from {values[0]:.3g} to {values[-1]:.3g}"
        items.append(
            tag(
                "li",
                tag("span", name, class_="name"),
                sparkline(values, colour="adapted", description=told),
                tag("span", f"{values[0]:.3g} → ", tag("b", f"{values[-1]:.3g}"), class_="value"),
            )
        )
    return part("Checked on the way", tag("ul", items, class_="probes"))


def cost_section(results: Mapping[str, Any]) -> Section | None:
    """Seconds, energy and memory of each stage, against what had been estimated."""
    rows = records(results, "cost", "rows")
    total = dig(results, "cost", "total")
    total = total if isinstance(total, Mapping) else {}
    if not rows and not total:
        return None
    longest = max((number(row, "seconds") or 0.0 for row in rows), default=0.0) or 1.0
    cells = [_cost_row(row, longest) for row in rows]
    if total:
        cells.append(_cost_row({"stage": "Total", **total}, None))
    columns = ["Stage", "Time", "Share", "Estimated before", "Energy", "Peak memory"]
    return section(
        "cost",
        "Cost",
        "What it cost",
        _thousand(results),
        data_table("Cost of each stage", columns, cells, numeric=(1, 3, 4, 5)),
    )


def _cost_row(row: Mapping[str, Any], longest: float | None) -> list[Child]:
    stage, seconds = words(row, "stage") or "unnamed", number(row, "seconds")
    source = words(row, "joules_source")
    bar: Child = None
    if longest is not None and seconds is not None:
        track = bar_track(seconds / longest, colour="generic", told=f"{stage}: {say_seconds(seconds)}")
        bar = tag("span", track, class_="track-cell")
    return [
        stage,
        tag("b", say_seconds(seconds)),
        bar,
        say_seconds(number(row, "estimated_seconds")),
        [say_joules(number(row, "joules")), tag("small", source) if source else None],
        say_bytes(number(row, "peak_memory_bytes")),
    ]


def _thousand(results: Mapping[str, Any]) -> str | None:
    seconds, joules = (number(results, "cost", "per_thousand", key) for key in ("seconds", "joules"))
    disk = number(results, "cost", "disk_bytes")
    said: list[str] = []
    if seconds is not None:
        energy = f" and {say_joules(joules)}" if joules is not None else ""
        said.append(f"A thousand predictions take {say_seconds(seconds)}{energy}.")
    if disk is not None:
        said.append(f"The run takes {say_bytes(disk)} on disk.")
    return " ".join(said) or None


def settings_section(results: Mapping[str, Any], absent: Sequence[str]) -> Section | None:
    """What is needed to do the same again, and what this run did not measure."""
    command = words(results, "command")
    told = [
        ("beholder", words(results, "version")),
        ("Date", words(results, "created")),
        ("Seed", words(results, "seed")),
        ("Device", words(results, "machine", "device")),
        ("Cores", words(results, "machine", "cores")),
        ("Python", words(results, "machine", "python")),
        ("torch", words(results, "machine", "torch")),
        ("Folder", words(results, "data", "folder")),
        ("Took", say_seconds(number(results, "wall_seconds")) if number(results, "wall_seconds") is not None else None),
    ]
    facts = [tag("div", tag("dt", name), tag("dd", tag("bdi", value))) for name, value in told if value]
    if not (facts or command or absent):
        return None
    missing = tag("ul", [tag("li", sentence) for sentence in absent], class_="notes")
    return section(
        "run",
        "This run",
        "What was done",
        None,
        tag("pre", tag("code", command), tabindex=0) if command else None,
        tag("dl", facts, class_="facts") if facts else None,
        part("Not in this report", missing) if absent else None,
    )


def glossary_section() -> Section:
    """Five words of this page in plain sentences."""
    entries = [tag("div", tag("dt", term), tag("dd", meaning)) for term, meaning in _GLOSSARY]
    return section("glossary", "Words", "Words on this page", None, tag("dl", entries, class_="glossary"))


def footer(results: Mapping[str, Any]) -> Markup:
    version = words(results, "version")
    return tag("footer", note("Made by beholder", f" {version}" if version else None, ". This page needs no network."))
