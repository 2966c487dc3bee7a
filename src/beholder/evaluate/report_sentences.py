"""`report.html` of a model of visual sentences: what it can do by example, beside what costs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beholder.evaluate.chart_tables import data_table
from beholder.evaluate.charts import Axes, Line, line_chart, swatch
from beholder.evaluate.markup import Child, Markup, tag
from beholder.evaluate.report import render_page
from beholder.evaluate.report_data import data_section
from beholder.evaluate.report_opening import after_semicolon, opening_of, weights_figure
from beholder.evaluate.report_pictures import Album, open_album, show
from beholder.evaluate.report_run import cost_section, glossary_section, settings_section
from beholder.evaluate.report_section import Section, note, part, section
from beholder.evaluate.report_training import training_section
from beholder.evaluate.report_values import (
    counts,
    dig,
    interval,
    number,
    records,
    say_count,
    say_percent,
    words,
)
from beholder.evaluate.report_verdict import cost_figure, figure, images_figure
from beholder.runtime.files import write_text

_COLOURS = ("generic", "adapted", "other", "last-layer", "trivial", "plain")
_ALL, _SOME = ("helped", "▲", "Learns by example"), ("same", "=", "By example, in part")
_FEW, _UNJUDGED = ("hurt", "▼", "Hardly by example"), ("unknown", "?", "Not judged by example")
_MINUS = "\N{MINUS SIGN}"
_RIVALS = {
    "copying the example": "Example's answer",
    "answer of the nearest picture": "Nearest picture's",
    "the question itself": "The question",
}
_GLOSSARY = (
    ("Sentence", "Pictures in a row, each turned into codes; the model foretells one code after the other."),
    (
        "Nats a code",
        "How surprising a code is to the model, on average: 0 if it knew each one, and the logarithm of the number of "
        "codes (6.9 for 1,024) if it knew nothing.",
    ),
    ("PSNR", "How small the error of the pixels is, in decibels: 10 more means a tenth of the squared error."),
    ("IoU", "Of two masks, how much they share of what either covers: 1 for equal masks, 0 for masks apart."),
    (
        "What the tokenizer keeps",
        "The score of the true answer after it was turned into codes and painted again; no completion can be expected "
        "to do better.",
    ),
    (
        "95 % interval",
        "If everything were judged again by other questions of the same kind, the value would lie in such an interval "
        "about 95 times out of 100.",
    ),
)


def write_sentences_report(results: Mapping[str, Any], pictures: Mapping[str, bytes], path: Path) -> None:
    """Write one self-contained page; `pictures` by the ids that `results["sheets"]` mentions."""
    album = open_album(results, pictures)
    chapters = (
        _scores_section(results),
        _sheets_section(results, album),
        _examples_section(results),
        training_section(results),
        data_section(results, album),
        cost_section(results),
        settings_section(results, ()),
        glossary_section(_GLOSSARY),
    )
    write_text(path, render_page(results, album, _opening(results), chapters))


def headline(results: Mapping[str, Any]) -> str:
    """What was found, as one sentence of plain text."""
    tasks = _tasks(results)
    if not tasks:
        return "The model foretells pictures; no task with answers was there to judge it by."
    won = [name for name, told in tasks.items() if _is_ahead(told)]
    verb = "is" if len(won) == 1 else "are"
    told = f"By example alone, {len(won)} of {len(tasks)} tasks {verb} done better than by copying the example's answer"
    mask = tasks.get("masks")
    if mask is None:
        return f"{told}."
    copied = number(mask, "rivals", "copying the example", "score")
    return f"{told}; masks of held-out pictures have an IoU of {number(mask, 'score'):.2f}, copied ones {copied:.2f}."


def _tasks(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = dig(results, "judged", "tasks")
    return dict(found) if isinstance(found, Mapping) else {}


def _is_ahead(told: Mapping[str, Any]) -> bool:
    ends = interval(told, "rivals", "copying the example", "interval")
    return ends is not None and ends[0] > 0


def _opening(results: Mapping[str, Any]) -> Markup:
    tasks = _tasks(results)
    num_won = sum(map(_is_ahead, tasks.values()))
    mark = _ALL if num_won == len(tasks) else _SOME if 2 * num_won >= len(tasks) else _FEW
    classes = dig(results, "judged", "classes")
    plain = number(results, "judged", "plain_nats")
    shown = [
        images_figure(results),
        figure("Nats a code", f"{plain:.2f}", "of held-out pictures, after other pictures") if plain else None,
        figure(
            "Classes by likelihood",
            say_percent(number(classes, "accuracy")),
            f"right, after {say_count(number(classes, 'examples'))} examples of each; chance is "
            f"{number(classes, 'chance') or 0:.0%}",
        )
        if isinstance(classes, Mapping)
        else weights_figure(results, "million, in the model of sentences"),
        cost_figure(results),
    ]
    return opening_of(results, mark if tasks else _UNJUDGED, *after_semicolon(headline(results)), shown)


def _scores_section(results: Mapping[str, Any]) -> Section | None:
    tasks = _tasks(results)
    if not tasks:
        return None
    names = list(dict.fromkeys(name for told in tasks.values() for name in (dig(told, "rivals") or {})))
    rows = []
    for name, told in tasks.items():
        left = ", never learned" if told.get("is_left_out") else ""
        title = [name, tag("small", f"{words(told, 'metric')}{left}")]
        rivals = [_rival(told, rival) for rival in names]
        own = [tag("b", _said(told, number(told, "score"))), tag("small", _range(told, interval(told, "interval")))]
        rows.append([title, own, *rivals, _said(told, number(told, "tokenizer"))])
    columns = ["Task", "The model", *(_RIVALS.get(name, name) for name in names), "Tokenizer"]
    return section(
        "scores",
        "Scores",
        "What it does by example",
        "Each held-out picture was asked about after examples from the training pictures. Below each rival stands how "
        "much better the model is (95 % interval of the difference, question by question).",
        data_table("Scores of each task", columns, rows, numeric=tuple(range(1, len(columns)))),
        note("Rivals are painted from codes, as the model's answers are. Tokenizer: what it keeps of the true answer."),
        _nearest(tasks),
    )


def _nearest(tasks: Mapping[str, Mapping[str, Any]]) -> Child:
    """What it is worth to choose examples that are like the question."""
    said = []
    for name, told in tasks.items():
        gain, ends = number(told, "nearest_examples", "gain"), interval(told, "nearest_examples", "interval")
        if gain is not None and ends is not None:
            said.append(f"{name} {_said(told, gain, '+')} ({_range(told, ends, '+')})")
    return note(f"With the nearest pictures as examples: {'; '.join(said)}.") if said else None


def _rival(told: Mapping[str, Any], rival: str) -> Child:
    score = number(told, "rivals", rival, "score")
    if score is None:
        return "–"
    return [_said(told, score), tag("small", _range(told, interval(told, "rivals", rival, "interval"), "+"))]


def _said(told: Mapping[str, Any], value: float | None, sign: str = "") -> str:
    digits = 3 if words(told, "metric") == "IoU" else 1
    return "–" if value is None else f"{value:{sign}.{digits}f}".replace("-", _MINUS)


def _range(told: Mapping[str, Any], ends: tuple[float, float] | None, sign: str = "") -> str | None:
    return None if ends is None else f"{_said(told, ends[0], sign)} to {_said(told, ends[1], sign)}"


def _sheets_section(results: Mapping[str, Any], album: Album) -> Section | None:
    sheets = records(results, "sheets")
    if not sheets:
        return None
    parts = []
    for one in sheets:
        name = words(one, "task") or "task"
        picture = show(album, one.get("picture"), f"Completions of {name}")
        parts.append(part(name.capitalize(), tag("figure", picture, class_="sheet")))
    most = say_count(number(results, "num_examples"))
    return section(
        "completions",
        "Completions",
        "Looking at it",
        f"In each row, from the left: {most} examples, each with its answer; the question; what the model painted; the "
        "true answer. All questions were held out; they are the first ones asked, not chosen ones.",
        parts,
    )


def _examples_section(results: Mapping[str, Any]) -> Section | None:
    tasks = _tasks(results)
    lines = []
    for index, (name, told) in enumerate(tasks.items()):
        by_count = counts(told, "nats_by_examples")
        values = [by_count[key] for key in sorted(by_count, key=int)]
        lines.append(Line(name, values, colour=_COLOURS[index % len(_COLOURS)], shape=index, is_dashed=index >= 6))
    if not lines:
        return None
    places = list(range(max(len(line.values) for line in lines)))
    axes = Axes(
        places,
        [(place, str(place), "") for place in places],
        y_title="Nats a code of the answer",
        write="{:.2f}".format,
        tell=[f"{place} examples" for place in places],
    )
    told = "Nats a code of the true answer by the number of examples: " + "; ".join(
        f"{line.title} {', '.join(f'{value:.2f}' for value in line.values if value is not None)}" for line in lines
    )
    charts = [
        tag(
            "div",
            line_chart(lines, axes, width=width, height=height, description=told, has_end_labels=width > 500),
            class_=kind,
        )
        for width, height, kind in ((1000, 420, "wide-only"), (720, 380, "middle-only"), (380, 320, "narrow-only"))
    ]
    keys = [tag("span", swatch(line), f" {line.title} ", class_="whole-word") for line in lines]
    legend = tag("div", tag("p", keys), class_="narrow-only")
    caption = tag("figcaption", "Across: examples in the sentence. Lower is better.")
    return section(
        "examples",
        "Examples",
        "What examples are worth",
        "The same held-out questions after no example and after more and more of them.",
        tag("figure", charts, legend, caption, class_="curve"),
        _misled(tasks),
    )


def _misled(tasks: Mapping[str, Mapping[str, Any]]) -> Child:
    """What wrong examples cost."""
    kinds = list(dict.fromkeys(kind for told in tasks.values() for kind in (dig(told, "misled") or {})))
    if not kinds:
        return None
    rows: list[Sequence[Child]] = []
    for name, told in tasks.items():
        cells: list[Child] = [name, _said(told, number(told, "score"))]
        for kind in kinds:
            harm, ends = number(told, "misled", kind, "harm"), interval(told, "misled", kind, "interval")
            around = f"{ends[0]:+.2f} to {ends[1]:+.2f}".replace("-", _MINUS) if ends else None
            cells.append([f"{harm:+.2f}".replace("-", _MINUS) if harm is not None else "–", tag("small", around)])
            cells.append(_said(told, number(told, "misled", kind, "score")))
        rows.append(cells)
    titles = {"shuffled": "answers shuffled", "other task": "examples of another task"}
    columns: list[Child] = ["Task", "Score"]
    for kind in kinds:
        columns += [f"Nats, {titles.get(kind, kind)}", "Score then"]
    return part(
        "When the examples are wrong",
        data_table("What wrong examples cost", columns, rows, numeric=tuple(range(1, len(columns)))),
        note("Nats: how much more surprising the true answer becomes, a code, with its 95 % interval."),
    )
