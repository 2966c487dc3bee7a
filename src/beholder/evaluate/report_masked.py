"""`report.html` of a model of masked pictures: its holes and samples, beside simple rivals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beholder.evaluate.chart_tables import data_table
from beholder.evaluate.markup import Child, Markup, tag
from beholder.evaluate.report import render_page
from beholder.evaluate.report_data import data_section
from beholder.evaluate.report_opening import after_semicolon, opening_of
from beholder.evaluate.report_pictures import Album, open_album, show
from beholder.evaluate.report_run import cost_section, glossary_section, settings_section
from beholder.evaluate.report_section import Section, note, part, section
from beholder.evaluate.report_training import training_section
from beholder.evaluate.report_values import (
    dig,
    interval,
    number,
    records,
    say_count,
    say_percent,
    say_things,
    texts,
    words,
)
from beholder.evaluate.report_verdict import cost_figure, figure, images_figure
from beholder.runtime.files import write_text

_MINUS = "\N{MINUS SIGN}"
_AHEAD, _SOME = ("helped", "▲", "Mends better than smoothing"), ("same", "=", "Mends as smoothing does")
_UNSURE = ("unknown", "?", "Judged on one group alone")
_BEHIND = ("hurt", "▼", "Mends worse than smoothing")
_SMOOTH = ("mean colour", "smooth (harmonic)", "bending (biharmonic)")
_SHEETS = {
    "holes": (
        "Holes",
        "Two to a row: a held-out picture with its hole, what was put in, that with another seed, the truth.",
    ),
    "samples": ("From nothing", "Each painted picture, and to its right the training picture that is most like it."),
    "classes": ("By class", "Asked for, row by row: "),
}
_GLOSSARY = (
    (
        "Distance",
        "How unlike a filled hole looks to the truth, from 0 to 1: half by the strength of bars and edges, half by "
        "tone, in small windows at three scales of fixed filters that nothing was trained with.",
    ),
    ("PSNR", "How small the error of the pixels within the hole is, in decibels; smooth fillings are good at that."),
    (
        "Tokenizer",
        "The distance of the truth itself after it was turned into codes and painted again; no filling can be expected "
        "to do better.",
    ),
    (
        "Precision and recall",
        "The share of painted pictures that lie among real ones, and of real ones that lie among the painted.",
    ),
    (
        "95 % interval",
        "If everything were judged again by other pictures of the same kind, the value would lie in such an interval "
        "about 95 times out of 100.",
    ),
)


def write_masked_report(results: Mapping[str, Any], pictures: Mapping[str, bytes], path: Path) -> None:
    """Write one self-contained page; `pictures` by the ids that `results["sheets"]` mentions."""
    album = open_album(results, pictures)
    chapters = (
        _holes_section(results),
        _sheets_section(results, album),
        _samples_section(results),
        training_section(results),
        data_section(results, album),
        cost_section(results),
        settings_section(results, ()),
        glossary_section(_GLOSSARY),
    )
    write_text(path, render_page(results, album, _opening(results), chapters))


def headline(results: Mapping[str, Any]) -> str:
    """What was found, as one sentence of plain text."""
    ours = number(results, "judged", "holes", "kinds", "all", "distance") or 0.0
    name, best = _best_smooth(results)
    near = number(results, "judged", "holes", "kinds", "all", "rivals", "nearest training picture", "distance") or 0.0
    verb = {
        "helped": "closer to the truth than",
        "same": "as close to the truth as",
        "hurt": "farther from the truth than",
        "unknown": "not surely closer to the truth than",
    }
    return (
        f"What it puts into holes of held-out pictures looks {verb[_mark(results)[0]]} the best smooth filling; "
        f"distance {ours:.3f}, {name} {best:.3f}, what the nearest training picture has there {near:.3f}."
    )


def _best_smooth(results: Mapping[str, Any]) -> tuple[str, float]:
    rivals = dig(results, "judged", "holes", "kinds", "all", "rivals") or {}
    return min(((name, rivals[name]["distance"]) for name in _SMOOTH if name in rivals), key=lambda pair: pair[1])


def _mark(results: Mapping[str, Any]) -> tuple[str, str, str]:
    ends = interval(results, "judged", "holes", "kinds", "all", "rivals", _best_smooth(results)[0], "interval")
    if ends is None:
        return _UNSURE
    return _SOME if ends[0] <= 0 <= ends[1] else _AHEAD if ends[0] > 0 else _BEHIND


def _opening(results: Mapping[str, Any]) -> Markup:
    classes, copied = dig(results, "judged", "classes"), number(results, "judged", "samples", "nearest", "share_copied")
    shown = [
        images_figure(results),
        figure("Copies", say_percent(copied), "of pictures from nothing are a training picture, code by code"),
        figure(
            "Class found",
            say_percent(number(classes, "accuracy")),
            f"of pictures asked for by it; of held-out photos {say_percent(number(classes, 'accuracy_of_held_out'))}",
        )
        if isinstance(classes, Mapping)
        else None,
        cost_figure(results),
    ]
    return opening_of(results, _mark(results), *after_semicolon(headline(results)), shown)


def _holes_section(results: Mapping[str, Any]) -> Section:
    kinds = dig(results, "judged", "holes", "kinds")
    names = ("All holes" if kind == "all" else kind.capitalize() for kind in kinds)
    columns: list[Child] = [
        "",
        *([name, tag("small", _size(told))] for name, told in zip(names, kinds.values(), strict=True)),
    ]
    own = ([tag("b", f"{told['distance']:.3f}"), tag("small", f"{told['psnr']:.1f} dB")] for told in kinds.values())
    rows: list[list[Child]] = [["The model", *own]]
    for rival in kinds["all"]["rivals"]:
        rows.append([rival.capitalize(), *(_rival(told["rivals"][rival]) for told in kinds.values())])
    rows.append(["Tokenizer", *(f"{told['tokenizer']:.3f}" for told in kinds.values())])
    return section(
        "holes",
        "Holes",
        "What it puts into holes",
        "The distance of what was put in from the truth, within the hole; smaller is better. Below each rival stands "
        "by how much its distance is larger (95 % interval of the difference, hole by hole), and its PSNR.",
        data_table("Distance from the truth by kind of hole", columns, rows, numeric=tuple(range(1, len(columns)))),
        note(
            f"Compared: {words(results, 'judged', 'holes', 'features')}. Neither loss has seen these filters. The "
            f"nearest training picture is one of {say_count(number(results, 'judged', 'holes', 'num_known'))}."
        ),
    )


def _size(told: Mapping[str, Any]) -> str:
    return f"{say_count(told['num_holes'])}, {told['share_hidden']:.0%} of the picture"


def _rival(told: Mapping[str, Any]) -> Child:
    ends = interval(told, "interval")
    around = f"{ends[0]:+.3f} to {ends[1]:+.3f}; ".replace("-", _MINUS) if ends else ""
    return [f"{told['distance']:.3f}", tag("small", f"{around}{told['psnr']:.1f} dB")]


def _sheets_section(results: Mapping[str, Any], album: Album) -> Section:
    parts = []
    for one in records(results, "sheets"):
        title, said = _SHEETS[one["name"]]
        if one["name"] == "classes":
            said += ", ".join(texts(results, "judged", "classes", "asked")) + "."
        parts.append(part(title, tag("figure", show(album, one["picture"], said), class_="sheet"), note(said)))
    return section("sheets", "Sheets", "What it paints", "The first pictures, not chosen ones.", *parts)


def _samples_section(results: Mapping[str, Any]) -> Section:
    samples, classes = dig(results, "judged", "samples"), dig(results, "judged", "classes")
    rows: list[list[Child]] = []
    for title, name, other in (
        ("Precision", "precision", "precision_of_held_out"),
        ("Recall", "recall", "recall_of_held_out"),
    ):
        rows.append([title, _percent(samples, name), _percent(samples, other)])
    near = samples["nearest"]
    known = say_things(near.get("num_known"), "picture to learn from", "pictures to learn from")
    rows.append(["Likeness to the nearest training picture", f"{near['median']:.3f}", f"{near['median_held_out']:.3f}"])
    rows.append(["Copies of a training picture", f"{near['share_copied']:.1%}", "–"])
    if isinstance(classes, Mapping):
        rows.append(
            [
                "Class found, asked for by class",
                _percent(classes, "accuracy"),
                _percent(classes, "accuracy_of_held_out"),
            ]
        )
        rows.append(["Class found, after the tokenizer", "–", _percent(classes, "accuracy_of_reconstructions")])
    return section(
        "samples",
        "Samples",
        "Pictures from nothing",
        f"{say_count(samples['num_samples'])} painted pictures, beside held-out photos in their place.",
        data_table("Painted and held-out pictures", ["", "Painted", "Held-out photos"], rows, numeric=(1, 2)),
        note(
            f"Precision and recall by {samples['features']}, against pictures to learn from. Likeness: cosine of "
            f"thumbnails, less their mean; 1 for equal ones; compared with {known}. A copy shares at least 90 % of its "
            "codes with a training picture or its mirror image. Classes are found by a classifier that was trained on "
            "real pictures alone."
        ),
    )


def _percent(value: Any, name: str) -> str:
    found = number(value, name)
    return "–" if found is None else say_percent(found)
