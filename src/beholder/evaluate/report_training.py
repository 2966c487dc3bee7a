"""How the learning went: the loss, the looks on the way, and what learning from the labels changed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from beholder.evaluate.chart_tables import Scale, data_table, dot_track
from beholder.evaluate.charts import Axes, Line, line_chart, nice_ticks, sparkline
from beholder.evaluate.markup import Child, tag
from beholder.evaluate.report_section import Section, note, part, prose, section
from beholder.evaluate.report_values import (
    elements,
    number,
    numbers,
    records,
    say_count,
    say_score,
    say_seconds,
    say_things,
    words,
)

_MOST_POINTS = 200
_BACKBONES = {
    "conv": "A convolutional network that came with ImageNet weights",
    "vit": "A small transformer without earlier training",
}
_OBJECTIVES = {
    "teacher": "self-distillation: recognise an image from another view of it",
    "masked": "masked prediction: tell what was painted over",
    "own-class": "each image its own class: told from all others however it is cropped and tinted",
}
_PROBES = {"rank": "Directions used (effective rank)", "knn": "Neighbours share the label (k-NN accuracy)"}


def training_section(results: Mapping[str, Any]) -> Section | None:
    """The loss and the probes over the steps; None when nothing was trained."""
    losses = _points(results, "training", "losses")
    probes = [
        (_said(_PROBES, words(probe, "name")) or "probe", _points(probe, "values"))
        for probe in records(results, "training", "probes")
    ]
    probes = [(name, points) for name, points in probes if points]
    sentence = _trained(results)
    tuning = _finetuning(results)
    if not losses and not probes and sentence is None and tuning is None:
        return None
    return section(
        "training",
        "Training",
        "How the learning went",
        prose(sentence),
        _loss(losses),
        _probes(probes),
        tuning,
    )


def _said(meanings: Mapping[str, str], name: str | None) -> str | None:
    return meanings.get(name, name) if name else None


def _finetuning(results: Mapping[str, Any]) -> Child:
    """What learning from the labels changed on the test part: two dots on one scale."""
    sentence = words(results, "finetuning", "sentence")
    before, after = (number(results, "finetuning", "test", key) for key in ("before", "after"))
    if sentence is None and (before is None or after is None):
        return None
    children: list[Child] = [tag("p", prose(sentence)) if sentence else None]
    if before is not None and after is not None:
        levels = nice_ticks(min(before, after) - 0.01, max(before, after) + 0.01, 3)
        rows = []
        for name, value, colour in (("Before", before, "generic"), ("After fine-tuning", after, "adapted")):
            told = f"{name}: {say_score(value)}"
            track = dot_track(Scale(levels[0], levels[-1]), value, colour=colour, told=told, weight=0.4)
            rows.append([name, tag("b", say_score(value)), tag("span", track, class_="track-cell")])
        ends = tag("span", tag("span", f"{levels[0]:g}"), tag("span", f"{levels[-1]:g}"), class_="ends")
        metric = words(results, "score", "metric") or "Score"
        children.append(
            data_table("Fine-tuning on the test part", ["On the test part", metric, ends], rows, numeric=(1,))
        )
    steps, shown, held = (number(results, "finetuning", key) for key in ("steps", "num_images", "num_validation"))
    if steps is not None and shown is not None:
        told = f"{say_things(steps, 'step')} on {say_things(shown, 'labelled image')}."
        if held is not None:
            told += f" Whether it was worth it was judged on {say_things(held, 'other')}."
        children.append(note(told))
    return part("Learning from the labels", children)


def _trained(results: Mapping[str, Any]) -> str | None:
    backbone = _said(_BACKBONES, words(results, "training", "backbone"))
    objective = _said(_OBJECTIVES, words(results, "training", "objective"))
    steps, seconds = number(results, "training", "steps"), number(results, "training", "seconds")
    stopped, kept = words(results, "training", "stopped"), number(results, "training", "kept_step")
    told = words(results, "training", "sentence")
    said: list[str] = [told] if told else []
    if not told and (backbone or objective):
        is_without = words(results, "training", "objective") in _OBJECTIVES
        how = "studied the images without labels, by" if is_without else "learned by"
        said.append((backbone or "The model") + (f" {how} {objective}." if objective else " was adapted."))
    if steps is not None:
        looked_at = number(results, "training", "num_images")
        on = "" if looked_at is None else f" on {say_things(looked_at, 'image')}"
        said.append(say_things(steps, "step") + on + (f" in {say_seconds(seconds)}." if seconds is not None else "."))
    if kept is not None and kept != steps:
        said.append(f"Kept are the weights of step {kept:,.0f}, which foretold what was held out best.")
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
    ticks = [
        (tick, say_count(tick), "")
        for tick in nice_ticks(0, max(last, 1), 4)
        if steps[0] <= tick <= last and tick == round(tick)
    ]
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
