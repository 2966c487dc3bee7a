"""`report.html` of a scaling law: losses of growing models, the law, and whether it foretold the largest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beholder.evaluate.chart_tables import data_table
from beholder.evaluate.charts import Axes, Line, line_chart, swatch
from beholder.evaluate.markup import Child, Markup, tag
from beholder.evaluate.report import render_page
from beholder.evaluate.report_data import data_section
from beholder.evaluate.report_opening import after_semicolon, opening_of
from beholder.evaluate.report_pictures import open_album
from beholder.evaluate.report_run import cost_section, glossary_section, settings_section
from beholder.evaluate.report_section import Section, note, part, prose, section
from beholder.evaluate.report_values import (
    ABSENT,
    dig,
    interval,
    number,
    numbers,
    records,
    say_count,
    say_seconds,
    say_things,
    words,
)
from beholder.evaluate.report_verdict import cost_figure, figure
from beholder.runtime.files import write_text

_HELD, _MISSED = ("helped", "▲", "Foretold"), ("hurt", "▼", "Not as foretold")
_WEAK = ("same", "=", "As foretold, but no test")
_FLAT, _UNTOLD = ("same", "=", "No law"), ("unknown", "?", "Not judged")
_GLOSSARY = (
    (
        "Nats a code",
        "How surprising a code of a held-out picture is to the model, on average: 0 if it knew each one, and the "
        "logarithm of the number of codes (6.9 for 1,024) if it knew nothing.",
    ),
    (
        "Scaling law",
        "How the loss falls as models grow: by the same share for each doubling, where it is a power law; towards a "
        "floor, where part of the loss cannot be removed by size.",
    ),
    (
        "Foretold",
        "The law is fitted to all sizes but the largest and then asked for the largest, which it has not seen.",
    ),
    (
        "95 % interval",
        "From redraws of the held-out pictures, the same for all sizes, and of the luck of each training run: 95 of "
        "100 redraws lie within.",
    ),
)


def write_scaling_report(results: Mapping[str, Any], path: Path) -> None:
    """Write one self-contained page."""
    album = open_album(results, {})
    chapters = (
        _curve_section(results),
        _sizes_section(results),
        _fairness_section(results),
        data_section(results, album),
        cost_section(results),
        settings_section(results, ()),
        glossary_section(_GLOSSARY),
    )
    write_text(path, render_page(results, album, _opening(results), chapters))


def headline(results: Mapping[str, Any]) -> str:
    """What was found, as one sentence of plain text."""
    told, largest = dig(results, "foretold") or {}, (records(results, "sizes") or [{}])[-1]
    if number(told, "loss") is None:
        return "No law was fitted."
    if not dig(results, "law", "falls"):
        return "The held-out loss does not fall with the size beyond the noise."
    low, high = interval(told, "interval") or (0.0, 0.0)
    verb = "is" if told.get("is_met") else "is not"
    weights = say_count(number(largest, "parameters"))
    no_test = "" if told.get("is_telling") or not told.get("is_met") else (
        " The interval is so wide that a largest model no better than the one before would have met it too: a larger "
        "budget narrows it."
    )  # fmt: skip
    return (
        f"The loss of the largest model {verb} what the smaller ones foretold; {weights} weights should have "
        f"{number(told, 'loss'):.3f} nats a code ({low:.3f} to {high:.3f}) and have "
        f"{number(told, 'measured'):.3f}.{no_test}"
    )


def formula(results: Mapping[str, Any]) -> str:
    """The law of all sizes with its numbers."""
    law = dig(results, "law") or {}
    power = f"{number(law, 'scale') or 0:.3g} / N^{number(law, 'exponent') or 0:.3f}"
    return f"L(N) = {number(law, 'floor'):.3f} + {power}" if law.get("has_floor") else f"L(N) = {power}"


def _opening(results: Mapping[str, Any]) -> Markup:
    told = dig(results, "foretold")
    mark = _UNTOLD
    if isinstance(told, Mapping):
        held = _HELD if told.get("is_telling") else _WEAK
        mark = _FLAT if not dig(results, "law", "falls") else held if told.get("is_met") else _MISSED
    ends = interval(results, "law", "intervals", "exponent")
    shown = [
        figure(
            "Exponent",
            f"{number(results, 'law', 'exponent') or 0:.3f}",
            f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else "",
        ),
        figure("Sizes", say_count(len(records(results, "sizes"))), _span(results)),
        figure(
            "Sentences",
            say_count(number(results, "stream", "sentences")),
            "the same for every size; "
            + ("none came twice" if not number(results, "stream", "repeated") else "some came twice"),
        ),
        cost_figure(results),
    ]
    return opening_of(results, mark, *after_semicolon(headline(results)), shown)


def _span(results: Mapping[str, Any]) -> str:
    sizes = [number(one, "parameters") for one in records(results, "sizes")]
    return f"{say_count(sizes[0])} to {say_count(sizes[-1])} weights" if sizes else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _curve_section(results: Mapping[str, Any]) -> Section | None:
    sizes = records(results, "sizes")
    places = [value for value in numbers(results, "curve", "sizes") if value is not None]
    if not sizes or not places:
        return None
    lines, axes = _lines(results, sizes, places)
    told = "Held-out loss by the number of weights: " + "; ".join(
        f"{say_count(number(one, 'parameters'))} weights {number(one, 'loss') or 0:.3f}" for one in sizes
    )
    charts = [
        tag("div", line_chart(lines, axes, width=width, height=height, description=told, has_end_labels=False),
            class_=kind)
        for width, height, kind in ((1000, 440, "wide-only"), (720, 400, "middle-only"), (380, 320, "narrow-only"))
    ]  # fmt: skip
    keys = tag("ul", [tag("li", swatch(line), tag("span", line.title)) for line in lines], class_="legend")
    caption = tag("figcaption", "Across: weights of the model. Both axes are logarithmic. Lower is better.")
    law = f"Of all sizes: {formula(results)}."
    return section(
        "law",
        "Law",
        "The loss by size",
        prose(f"{law} The law that is drawn was fitted to all sizes but the largest, with its 95 % band."),
        tag("figure", charts, keys, caption, class_="curve"),
        _intervals(results),
        note(prose(_capital(words(results, "law", "chosen_by") or "") + ".")),
        _by_form(results),
    )


def _lines(
    results: Mapping[str, Any], sizes: Sequence[Mapping[str, Any]], places: list[float]
) -> tuple[list[Line], Axes]:
    """The law and the measurements over common places: between measurements there is only the law."""
    counts = [number(one, "parameters") or 1.0 for one in sizes]
    everywhere = sorted({*places, *counts})
    law = {name: dict(zip(places, numbers(results, "curve", name), strict=True)) for name in ("loss", "low", "high")}
    measured = dict(zip(counts, [number(one, "loss") for one in sizes], strict=True))

    def filled(values: Mapping[float, float | None], keys: Sequence[float]) -> list[float | None]:
        return [values.get(place) if place in keys else None for place in everywhere]

    def ends(which: int) -> dict[float, float | None]:
        found = [interval(one, "interval") for one in sizes]
        return {place: pair[which] if pair else None for place, pair in zip(counts, found, strict=True)}

    smaller, largest = counts[:-1], counts[-1:]
    lines = [
        Line("law of the smaller sizes", filled(law["loss"], places), filled(law["low"], places),
             filled(law["high"], places), colour="generic", has_markers=False),
        Line("measured", filled(measured, smaller), filled(ends(0), smaller), filled(ends(1), smaller),
             colour="plain", has_stroke=False, has_band=False),
        Line("measured, the largest", filled(measured, largest), filled(ends(0), largest), filled(ends(1), largest),
             colour="adapted", shape=2, has_stroke=False, has_band=False),
    ]  # fmt: skip
    return lines, Axes(
        everywhere,
        [(place, _short(place), words(one, "name") or "") for place, one in zip(counts, sizes, strict=True)],
        is_logarithmic=True, is_y_logarithmic=True, y_title="Nats a code of held-out pictures",
        write="{:.3f}".format, tell=[f"{say_count(place)} weights" for place in everywhere],
    )  # fmt: skip


def _short(count: float) -> str:
    for unit, power in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= power:
            return f"{count / power:.3g} {unit}"
    return f"{count:.0f}"


def _intervals(results: Mapping[str, Any]) -> Child:
    rows = []
    for name, title in (("exponent", "Exponent"), ("scale", "Scale (nats at one weight)"), ("floor", "Floor (nats)")):
        value, ends = number(results, "law", name), interval(results, "law", "intervals", name)
        if value is None or (name == "floor" and not dig(results, "law", "has_floor")):
            continue
        rows.append([title, f"{value:.3g}", f"{ends[0]:.3g} to {ends[1]:.3g}" if ends else ABSENT])
    return part("Its numbers", data_table("Numbers of the law", ["Of all sizes", "Value", "95 % interval"], rows,
                                          numeric=(1, 2)))  # fmt: skip


def _by_form(results: Mapping[str, Any]) -> Child:
    forms = dig(results, "foretold", "by_form")
    if not isinstance(forms, Mapping):
        return None
    if forms.get("floor") == forms.get("no floor"):
        return None  # so few sizes that no floor was fitted
    said = [f"with a floor {number(forms, 'floor') or 0:.3f}", f"without {number(forms, 'no floor') or 0:.3f}"]
    measured = number(results, "foretold", "measured")
    return note(f"Foretold of the largest {', '.join(said)}; measured {measured or 0:.3f}.")


def _sizes_section(results: Mapping[str, Any]) -> Section | None:
    sizes = records(results, "sizes")
    if not sizes:
        return None
    rows: list[Sequence[Child]] = []
    for one in sizes:
        ends = interval(one, "interval")
        around = f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else None
        rows.append(
            [
                words(one, "name"),
                [say_count(number(one, "parameters")), tag("small", f"{say_count(number(one, 'trunk_parameters'))} in "
                                                           "the trunk")],
                f"{number(one, 'lr') or 0:.2g}",
                f"{number(one, 'training_loss') or 0:.3f}",
                [tag("b", f"{number(one, 'loss') or 0:.3f}"), tag("small", around)],
                say_seconds(number(one, "seconds")),
            ]
        )  # fmt: skip
    columns = ["Width × depth", "Weights", "Learning rate", "Loss in training", "Held-out loss", "Time"]
    noise, seeds = number(results, "noise", "nats"), number(results, "noise", "num_seeds")
    return section(
        "sizes",
        "Sizes",
        "Every size",
        "Nats a code. Below each held-out loss stands its 95 % interval over held-out pictures, most of which all "
        "sizes share: some pictures are harder than others.",
        data_table("Sizes", columns, rows, numeric=(1, 2, 3, 4, 5)),
        note(
            f"The smallest size was trained {say_count(seeds)} times with other seeds; its loss has a standard "
            f"deviation of {noise:.4f} nats, which is taken as every size's luck."
        )
        if noise is not None
        else None,
        note(f"Learning rates: {words(results, 'lr_rule')}."),
    )


def _fairness_section(results: Mapping[str, Any]) -> Section | None:
    told = dig(results, "stream")
    if not isinstance(told, Mapping):
        return None
    repeated = number(told, "repeated") or 0
    twice = "none came twice" if not repeated else f"{say_things(repeated, 'sentence')} came more than once"
    said = (
        f"Every size read the same {say_things(number(told, 'sentences'), 'sentence')} in the same order, once; "
        f"{twice}. "
        f"They hold {say_things(number(told, 'views_read'), 'view')} of pictures, of "
        f"{say_count(number(told, 'views'))} different ones (a picture, mirrored or not, and what was made of it): "
        f"sentences are new, their pictures come back, {number(told, 'reads_per_view') or 0:.1f} times each. "
        f"All were judged by the same {say_things(number(told, 'held_out_sentences'), 'sentence')} that end in one of "
        f"{say_things(number(told, 'held_out_pictures'), 'held-out picture')}."
    )
    return section("fairness", "Same for all", "What every size had in common", prose(said))
