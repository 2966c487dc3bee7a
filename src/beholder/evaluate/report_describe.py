"""`report.html` of a model that puts images into words: what it said of held-out images, and whether it looked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beholder.evaluate.chart_tables import data_table
from beholder.evaluate.markup import Child, Markup, tag
from beholder.evaluate.report import render_page
from beholder.evaluate.report_data import data_section
from beholder.evaluate.report_opening import in_brackets, opening_of, weights_figure
from beholder.evaluate.report_pictures import Album, open_album, show
from beholder.evaluate.report_run import cost_section, glossary_section, settings_section
from beholder.evaluate.report_section import Section, note, prose, section
from beholder.evaluate.report_training import training_section
from beholder.evaluate.report_values import dig, interval, number, records, say_count, texts, words
from beholder.evaluate.report_verdict import cost_figure, figure, images_figure
from beholder.runtime.files import write_text

_MODEL, _BLANK = "model", "model, image blanked"
_MEASURES = {
    "cider": (
        ("cider", "CIDEr", "{:.3f}"), ("bleu4", "BLEU-4", "{:.3f}"), ("rouge_l", "ROUGE-L", "{:.3f}"),
        ("chrf", "chrF", "{:.1f}"), ("things_true", "True things", "{:.2f}"),
        ("things_false", "False of named", "{:.0%}"), ("different", "Different", "{:.0%}"),
        ("words", "Words", "{:.1f}"),
    ),
    "accuracy": (("accuracy", "Right", "{:.1%}"),),
}  # fmt: skip
_NAMES = {"cider": "CIDEr", "accuracy": "answers that are right"}
_GLOSSARY = (
    (
        "CIDEr",
        "How much a caption has in common with what people said of the image, rare words counting more (0 to 10; what "
        "people say of each other's photos reaches about 1).",
    ),
    (
        "BLEU-4, ROUGE-L, chrF",
        "Shared runs of four words, the longest common sequence of words, and shared runs of letters.",
    ),
    (
        "True things, false of named",
        "Things that a caption names and some person named too, a caption; and the share of all things it names that "
        "nobody named.",
    ),
    (
        "Image blanked",
        "The same model before the average of all images: what it says without looking.",
    ),
    (
        "Nearest image's",
        "What people said of the learned image that is most similar, in the features that the model sees.",
    ),
    (
        "95 % interval",
        "If everything were judged again by other images of the same kind, the value would lie in such an interval "
        "about 95 times out of 100.",
    ),
)


def write_describe_report(results: Mapping[str, Any], pictures: Mapping[str, bytes], path: Path) -> None:
    """Write one self-contained page; `pictures` by the ids that `results["gallery"]` mentions."""
    album = open_album(results, pictures)
    chapters = (
        _said_section(results, album),
        _scores_section(results),
        _languages_section(results),
        _regions_section(results),
        training_section(results),
        data_section(results, album),
        cost_section(results),
        settings_section(results, ()),
        glossary_section(_GLOSSARY),
    )
    write_text(path, render_page(results, album, _opening(results), chapters))


def headline(results: Mapping[str, Any]) -> str:
    """What was found, as one sentence of plain text."""
    measure, rows = _measure(results), _rows(results)
    own, ends = number(rows.get(_MODEL), measure), interval(rows.get(_MODEL), "interval")
    name, rival = _best_rival(results)
    if own is None or ends is None or rival is None:
        return "The model speaks of images; nothing was there to judge it by."
    write = "{:.1%}" if measure == "accuracy" else "{:.2f}"
    told = f"{write.format(own)} {_NAMES[measure]} on held-out images (95 % interval "
    told += f"{write.format(ends[0])} to {write.format(ends[1])}; {name} {write.format(rival)}"
    blank = number(rows.get(_BLANK), measure)
    if blank is not None:
        told += f"; without looking {write.format(blank)}"
    return f"{told})."


def _measure(results: Mapping[str, Any]) -> str:
    return words(results, "judged", "measure") or "cider"


def _rows(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = dig(results, "judged", "rows")
    return dict(found) if isinstance(found, Mapping) else {}


def _best_rival(results: Mapping[str, Any]) -> tuple[str, float | None]:
    """The best of what needs no model."""
    measure = _measure(results)
    others = {name: row for name, row in _rows(results).items() if name not in _WAYS and not name.startswith(_MODEL)}
    rivals = {name: value for name, row in others.items() if (value := number(row, measure)) is not None}
    name = max(rivals, key=lambda one: rivals[one], default=None)
    return ("", None) if name is None else (name, rivals[name])


def _mark(results: Mapping[str, Any]) -> tuple[str, str, str]:
    rows = _rows(results)
    looks = interval(rows.get(_BLANK), "behind", "interval")
    ahead = interval(rows.get(_best_rival(results)[0]), "behind", "interval")
    if looks is None or ahead is None:
        return "unknown", "?", "Not judged"
    if looks[0] <= 0:
        return "hurt", "▼", "It does not surely look"
    if ahead[0] > 0:
        return "helped", "▲", "It looks, and says more than similar images would"
    if ahead[1] < 0:
        return "hurt", "▼", "It looks, and what was said of similar images is better"
    return "same", "=", "It looks; not surely better than what was said of similar images"


def _opening(results: Mapping[str, Any]) -> Markup:
    shown = [
        images_figure(results),
        figure("Asked", say_count(number(results, "judged", "num_judged")), "held-out images or questions"),
        weights_figure(results, "million, in what speaks"),
        cost_figure(results),
    ]
    return opening_of(results, _mark(results), *in_brackets(headline(results)), shown)


_WAYS = {
    "model": "The caption of the whole",
    "by regions": "The description by regions",
    "by regions, not checked": "The same, not checked against what is likely there",
    "by regions, phrases left out": "The same without the phrases",
    "by regions, images blanked": "The same before a blank",
    "phrases in a row": "The phrases in a row",
}
_AHEAD = (("cider", "CIDEr", "{:+.3f}"), ("things_true", "true", "{:+.2f}"), ("things_false", "false", "{:+.0%}"))


def _regions_section(results: Mapping[str, Any]) -> Section | None:
    """Of runs that learned to join phrases about parts of an image."""
    found = dig(results, "judged", "regions", "rows")
    if not isinstance(found, Mapping):
        return None
    rows: list[list[Child]] = []
    for name, title in _WAYS.items():
        row = found.get(name)
        if not isinstance(row, Mapping):
            continue
        values = [number(row, key) for key in ("cider", "things_true", "things_false")]
        told: list[Child] = [
            None if value is None else prose(write.format(value))
            for value, write in zip(values, ("{:.3f}", "{:.2f}", "{:.0%}"), strict=True)
        ]
        rows.append([title, *told, *(_ahead(row, key, write) for key, _, write in _AHEAD)])
    columns = ["What is told", "CIDEr", "True things", "False of named",
               *(f"By regions ahead, {title}" for _, title, _ in _AHEAD)]  # fmt: skip
    return section(
        "regions",
        "Regions",
        "Whether the long way names more that is there",
        "An image is taken apart, things in the parts are named, the model says a phrase about each, and joins phrases "
        "and what it sees. Below each lead stands its 95 % interval over images; of what is false less is better.",
        data_table("The caption and the description by regions", columns, rows, numeric=tuple(range(1, len(columns)))),
    )


def _ahead(row: Any, key: str, write: str) -> Child:
    value, ends = number(row, "joined_ahead", key, "value"), interval(row, "joined_ahead", key, "interval")
    if value is None or ends is None:
        return None
    return [prose(write.format(value)), tag("small", prose(f"{write.format(ends[0])} to {write.format(ends[1])}"))]


def _languages_section(results: Mapping[str, Any]) -> Section | None:
    """Of models that speak several languages."""
    found = dig(results, "judged", "languages")
    if not isinstance(found, Mapping) or not found:
        return None
    names = [name for name in _rows(results) if name not in _WAYS or name == _MODEL]
    rows: list[list[Child]] = []
    for name in names:
        values = [number(judged, "rows", name, "cider") for judged in found.values()]
        rows.append([name.capitalize(), *(None if value is None else f"{value:.3f}" for value in values)])
    asked = ", ".join(f"{say_count(number(judged, 'num_judged'))} in {language}" for language, judged in found.items())
    return section(
        "languages",
        "Languages",
        "How well it speaks each language",
        f"CIDEr of held-out captions, {asked}; how rare a word is, is counted in each by itself.",
        data_table("CIDEr by language", ["Who says it", *found], rows, numeric=tuple(range(1, 1 + len(found)))),
    )


def _said_section(results: Mapping[str, Any], album: Album) -> Section | None:
    gallery = records(results, "gallery")
    if not gallery:
        return None
    return section(
        "said",
        "Said",
        "What it says",
        "Held-out images: those of which it said the worst first, some between, and the best. All that was judged "
        "stands in said.jsonl, the worst first.",
        tag("ul", [_card(one, album) for one in gallery], class_="gallery"),
    )


def _card(record: Mapping[str, Any], album: Album) -> Markup:
    said = dig(record, "said")
    own = words(said, _MODEL) or ""
    question = words(record, "question")
    lines: list[Child] = [tag("span", question, class_="quiet") if question else None]
    lines.append(tag("b", own or "(nothing)"))
    by_regions = words(said, "by regions")
    lines += [tag("span", f"by regions: {by_regions}")] if by_regions else []
    lines.append(tag("span", f"without looking: {words(said, _BLANK) or '(nothing)'}", class_="quiet"))
    lines += [tag("span", f"people: {text}", class_="quiet") for text in texts(record, "right")[:1]]
    picture = show(album, record.get("picture"), f"Held-out image: {own}")
    return tag("li", tag("figure", picture, tag("figcaption", lines), class_="card"))


def _scores_section(results: Mapping[str, Any]) -> Section | None:
    measure, found = _measure(results), _rows(results)
    if not found:
        return None
    shown = _MEASURES[measure]
    rows: list[list[Child]] = []
    for name, row in found.items():
        if name in _WAYS and name != _MODEL:
            continue  # the next section tells of these
        values = [None if (value := number(row, key)) is None else prose(write.format(value))
                  for key, _, write in shown]  # fmt: skip
        ahead, ends = number(row, "behind", "value"), interval(row, "behind", "interval")
        gain = (
            [prose(f"{ahead:+.3f}"), tag("small", prose(f"{ends[0]:+.3f} to {ends[1]:+.3f}"))]
            if ahead is not None and ends is not None
            else None
        )
        rows.append([name.capitalize(), *values, gain])
    columns = ["Who says it", *(title for _, title, _ in shown), f"Model ahead, {_NAMES[measure]}"]
    return section(
        "scores",
        "Scores",
        "Whether it looks, and whether it was worth training",
        f"{say_count(number(results, 'judged', 'num_judged'))} held-out images or questions. Below each lead stands "
        "its 95 % interval over them.",
        data_table("Scores of what was said", columns, rows, numeric=tuple(range(1, len(columns)))),
        note(
            "Words are compared in lower case without punctuation. How rare a word is, CIDEr counts over these images: "
            "its values compare within this table."
        )
        if measure == "cider"
        else None,
    )
