"""`report.html` of a tuning run: what it gave on one's own images and what it took from general ones, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beholder.evaluate.chart_tables import data_table
from beholder.evaluate.charts import Axes, Line, line_chart, swatch
from beholder.evaluate.markup import Child, Markup, join, tag
from beholder.evaluate.report import head
from beholder.evaluate.report_run import cost_section, footer, settings_section
from beholder.evaluate.report_section import Section, note, prose, section
from beholder.evaluate.report_training import training_section
from beholder.evaluate.report_values import (
    ABSENT,
    dig,
    interval,
    number,
    numbers,
    say_count,
    say_joules,
    say_percent,
    say_points,
    say_seconds,
    words,
)
from beholder.runtime.files import write_text

_MARKS = {
    "helped": ("helped", "▲", "Helped on yours"),
    "no difference": ("same", "=", "No sure change on yours"),
    "hurt": ("hurt", "▼", "Hurt on yours"),
}
_SETS = (("own", "Yours", "adapted"), ("general", "General", "generic"))
_STATES = (("before", "Before"), ("tuned", "All that was learned"), ("shipped", "Shipped"))


def write_tune_report(results: Mapping[str, Any], path: Path) -> None:
    """Write one self-contained page about a run of `tune`; values that are missing are left out."""
    write_text(path, render_tune_report(results))


def render_tune_report(results: Mapping[str, Any]) -> str:
    """The page as text."""
    tuning = dig(results, "tuning")
    training = {"training": {**tuning, "seconds": _seconds_of(results, "tuning")}} if tuning else {}
    absent = [] if dig(results, "general") else ["No general score: there was no guard set, so loss is not known."]
    found = (
        _scores_section(results),
        _blend_section(results),
        _data_section(results),
        training_section(training),
        cost_section(results),
        settings_section({**results, "data": {"folder": words(results, "data", "folder")}}, absent),
    )
    sections = [one for one in found if one is not None]
    links = [tag("li", tag("a", one.short, href=f"#{one.name}")) for one in sections]
    contents = tag(
        "nav",
        tag("p", "beholder", class_="brand"),
        tag("ol", tag("li", tag("a", "Verdict", href="#main")), links),
        aria_label="Contents",
    )
    main = tag("main", _opening(results), [one.body for one in sections], id="main")
    page = tag("div", contents, main, footer(results), class_="page")
    body = tag("body", tag("a", "Skip to the report", href="#main", class_="skip"), page)
    return f"<!doctype html>\n{tag('html', head(results), body, lang='en')}\n"


def _opening(results: Mapping[str, Any]) -> Markup:
    outcome = words(results, "verdict", "outcome")
    colour, sign, title = _MARKS.get(outcome or "", ("unknown", "?", "Not judged"))
    created, aside = words(results, "created"), words(results, "verdict", "aside")
    return tag(
        "header",
        tag(
            "p",
            tag("strong", tag("bdi", words(results, "name") or "A beholder run")),
            tag("span", tag("bdi", f"{words(results, 'model') or 'a model'}, tuned")),
            tag("time", created[:10], datetime=created) if created else None,
            class_="kicker",
        ),
        tag("p", tag("span", sign, class_="sign", aria_hidden="true"), title, class_="mark"),
        tag("h1", prose(words(results, "verdict", "sentence") or "This run has no verdict.")),
        tag("p", prose(aside), class_="details") if aside else None,
        tag("dl", _figures(results), class_="figures"),
        class_=f"opening {colour}",
    )


def _figures(results: Mapping[str, Any]) -> list[Markup]:
    figures = []
    for name, title, _ in _SETS:
        moved, ends = number(results, name, "change", "difference"), interval(results, name, "change", "interval")
        if moved is not None:
            metric = words(results, name, "metric") or "score"
            around = f", 95 % interval {say_points(ends[0])} to {say_points(ends[1])}" if ends else ""
            figures.append(_figure(f"{title}, points", say_points(moved), f"{metric}{around}"))
    share = number(results, "shipped", "share")
    if share is not None:
        figures.append(_figure("Shipped", say_percent(share), "of what was learned"))
    seconds, joules = number(results, "wall_seconds"), number(results, "cost", "total", "joules")
    if seconds is not None:
        device = words(results, "machine", "device")
        pieces = say_seconds(seconds).split("\N{NO-BREAK SPACE}")
        value = [tag("small", piece) if place % 2 else piece for place, piece in enumerate(pieces)]
        told = ", ".join(one for one in (say_joules(joules) if joules else None, device) if one)
        figures.append(_figure("Time", value, told))
    return figures


def _figure(name: str, value: Child, said: str) -> Markup:
    return tag("div", tag("dt", name), tag("dd", tag("span", value, class_="big"), tag("span", prose(said))))


def _scores_section(results: Mapping[str, Any]) -> Section | None:
    known = [one for one in _SETS if dig(results, one[0])]
    if not known:
        return None
    rows = []
    for name, title, _ in known:
        metric = words(results, name, "metric") or "score"
        cells: list[Child] = [join(title, tag("small", f" {metric}"))]
        cells += [_score(results, name, state) for state, _ in _STATES]
        cells.append(_change(results, name, "change"))
        cells.append(_change(results, name, "change_tuned"))
        rows.append(cells)
    columns = ["Test part", *(title for _, title in _STATES), "Shipped − before", "All − before"]
    counts = [
        f"{say_count(number(results, part, 'num_test'))} images of {title.lower()}"
        for part, title in (("data", "yours"), ("guard", "the guard set"))
        if number(results, part, "num_test") is not None
    ]
    return section(
        "scores",
        "Scores",
        "Yours and general, side by side",
        f"Of {' and '.join(counts)}, which nothing was learned or chosen from." if counts else None,
        data_table("Scores on the test parts", columns, rows, numeric=range(1, 6)),
        note(
            "Balanced accuracy: images named by text, every class counting the same. Mean recall: how often the right "
            "text of an image, and the right image of a text, is among the first 1, 5 and 10. In brackets "
            "95\N{NO-BREAK SPACE}% intervals over redrawn groups of images; changes are paired."
        ),
    )


def _score(results: Mapping[str, Any], name: str, state: str) -> Child:
    return _with_ends(number(results, name, state, "value"), interval(results, name, state, "interval"), _percent)


def _change(results: Mapping[str, Any], name: str, key: str) -> Child:
    return _with_ends(number(results, name, key, "difference"), interval(results, name, key, "interval"), say_points)


def _with_ends(value: float | None, ends: tuple[float, float] | None, say: Any) -> Child:
    if value is None:
        return ABSENT
    around = tag("small", f" ({say(ends[0])} to {say(ends[1])})") if ends else None
    return [tag("b", say(value)), around]


def _blend_section(results: Mapping[str, Any]) -> Section | None:
    shares = [share for share in numbers(results, "blend", "shares") if share is not None]
    if len(shares) < 2:
        return None
    lines = [
        Line(title, values, colour=colour, shape=shape)
        for shape, (name, title, colour) in enumerate(_SETS)
        if any(values := [None if one is None else 100 * one for one in numbers(results, "blend", name)])
    ]
    chosen, may_lose = number(results, "blend", "chosen"), number(results, "blend", "may_lose")
    ticks = [(share, say_percent(share), "chosen" if share == chosen else "") for share in shares[::2]]
    if chosen is not None and chosen not in shares[::2]:
        ticks = sorted([*ticks, (chosen, "", "chosen")])
    axes = Axes(
        shares, ticks, y_title="Score on the validation part, %", write="{:.1f}\N{NO-BREAK SPACE}%".format,
        tell=[f"{say_percent(share)} of what was learned" for share in shares],
    )  # fmt: skip
    described = f"Scores along the blend; chosen is {say_percent(chosen)}"
    charts = [
        tag("div", line_chart(lines, axes, width=width, height=height, description=described, has_end_labels=wide),
            class_=kind)
        for width, height, kind, wide in (
            (1000, 380, "wide-only", True), (720, 360, "middle-only", True), (380, 320, "narrow-only", False),
        )
    ]  # fmt: skip
    rule = (
        "The largest sum of both scores is chosen."
        if may_lose is None
        else f"Chosen is the best of your own that loses at most {may_lose:g} points of the general score."
    )
    legend = tag("ul", [tag("li", swatch(line), tag("span", line.title)) for line in lines], class_="legend")
    across = "Across: how much of what was learned is in the weights, from the model as it was to all of it."
    return section(
        "blend",
        "Blend",
        "How much of it to keep",
        f"Between the model before and after lie models that keep gain and loss in other proportions. {rule}",
        tag("figure", legend, charts, tag("figcaption", across), class_="curve"),
    )


def _data_section(results: Mapping[str, Any]) -> Section | None:
    rows: list[Sequence[Child]] = []
    for key, title in (("data", "Yours"), ("guard", "General")):
        if dig(results, key):
            counts = [say_count(number(results, key, f"num_{part}")) for part in ("train", "validation", "test")]
            rows.append([title, tag("bdi", words(results, key, "description") or ""), *counts])
    if not rows:
        return None
    tuning = dig(results, "tuning") or {}
    facts = f"Rank {words(tuning, 'rank')}, learning rate {words(tuning, 'lr')}." if tuning else None
    return section(
        "data",
        "Data",
        "What was learned from, and what was not",
        "Near-duplicates and groups of images never stand in two parts. The guard set is never learned from.",
        data_table("Images", ["Set", "Read as", "Learned from", "Validation", "Test"], rows, numeric=(2, 3, 4)),
        note(facts) if facts else None,
    )


def _percent(share: float | None) -> str:
    return ABSENT if share is None else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def _seconds_of(results: Mapping[str, Any], stage: str) -> float | None:
    rows = dig(results, "cost", "rows") or []
    return next((number(row, "seconds") for row in rows if words(row, "stage") == stage), None)
