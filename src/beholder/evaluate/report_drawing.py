"""`report.html` of a model that draws what a text says: what it drew for captions that were held out, and how well what
it draws goes with them."""

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
from beholder.evaluate.report_values import dig, elements, interval, number, records, say_count, say_percent, words
from beholder.evaluate.report_verdict import cost_figure, figure, images_figure
from beholder.runtime.files import write_text

_MINUS = "\N{MINUS SIGN}"
_GLOSSARY = (
    (
        "Caption preferred",
        "Share of comparisons in which a picture scores higher with its own caption than with another held-out one; "
        "50 % is chance.",
    ),
    (
        "Scorer",
        "What tells whether a picture goes with a caption. It is neither the network of the tokenizer's loss nor the "
        "one that reranks.",
    ),
    (
        "Reranking",
        "Several pictures are drawn for a caption, and a small model of images and texts, trained on the same pairs, "
        "chooses one.",
    ),
    (
        "Guidance",
        "How far drawing goes towards the caption, and away from what would be drawn without one: 1 is the model as it "
        "is.",
    ),
    (
        "Nats a code",
        "How surprising a code of a picture is to the model, on average: 0 if it knew each one, and the logarithm of "
        "the number of codes (6.9 for 1,024) if it knew nothing.",
    ),
    (
        "Captions confused",
        "How unsurely a true picture costs fewer nats under its own caption than under another's: the mean difference "
        "over its spread, negative; smaller is better. The weights of its lowest point are kept.",
    ),
    (
        "95 % interval",
        "If everything were judged again by other captions of the same kind, the value would lie in such an interval "
        "about 95 times out of 100.",
    ),
)


def write_drawing_report(results: Mapping[str, Any], pictures: Mapping[str, bytes], path: Path) -> None:
    """Write one self-contained page; `pictures` by the ids that `results["gallery"]` mentions."""
    album = open_album(results, pictures)
    chapters = (
        _pictures_section(results, album),
        _scores_section(results),
        _knowledge_section(results),
        _sets_section(results),
        training_section(results),
        data_section(results, album),
        cost_section(results),
        settings_section(results, ()),
        glossary_section(_GLOSSARY),
    )
    write_text(path, render_page(results, album, _opening(results), chapters))


def headline(results: Mapping[str, Any]) -> str:
    """What was found, as one sentence of plain text."""
    name, row = _last(results)
    share, ends = number(row, "preferred", "value"), interval(row, "preferred", "interval")
    true = number(_rows(results).get("true pictures"), "preferred", "value")
    if share is None or true is None:
        return "The model draws pictures; no captions were there to judge it by."
    around = f"95 % interval {ends[0]:.0%} to {ends[1]:.0%}; " if ends else "one group alone, so nothing is sure; "
    told = (
        f"What is {name.replace(', ', ' and ')} goes better with its own caption than with another in {share:.0%} of "
        f"comparisons ({around}true pictures {true:.0%}, chance 50%)"
    )
    if not dig(results, "judged", "scorer", "separates"):
        told += "; the scorer does not tell true pictures apart, so that this says little"
    return f"{told}."


def _rows(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = dig(results, "judged", "rows")
    return dict(found) if isinstance(found, Mapping) else {}


def _last(results: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """What a user gets: reranked, where there is a reranker that does no harm."""
    harms = bool(dig(results, "judged", "reranking", "harms"))
    drawn = [
        (name, row)
        for name, row in _rows(results).items()
        if name.startswith("drawn") and not (harms and name.endswith("reranked"))
    ]
    return drawn[-1] if drawn else ("drawn", {})


def _mark(results: Mapping[str, Any]) -> tuple[str, str, str]:
    ends = interval(_last(results)[1], "gain", "interval")
    if ends is None or not dig(results, "judged", "scorer", "separates"):
        return "unknown", "?", "Not judged: the scorer cannot tell"
    if ends[0] > 0:
        return "helped", "▲", "Draws what it is told"
    return ("hurt", "▼", "Draws something else") if ends[1] < 0 else ("same", "=", "Not surely what it is told")


def _opening(results: Mapping[str, Any]) -> Markup:
    gain = number(results, "judged", "nats", "gain_over_others", "value")
    shown = [
        images_figure(results),
        figure("Caption tells", f"{gain:+.3f}".replace("-", _MINUS), "nats a code: own caption beside another's")
        if gain is not None
        else None,
        weights_figure(results, "million, in what draws"),
        cost_figure(results),
    ]
    return opening_of(results, _mark(results), *in_brackets(headline(results)), shown)


def _pictures_section(results: Mapping[str, Any], album: Album) -> Section | None:
    gallery = records(results, "gallery")
    if not gallery:
        return None
    return section(
        "drawn",
        "Drawn",
        "What it draws",
        "Captions that were held out, not chosen ones. From the left: the true picture; what was drawn, first the one "
        "that the reranker prefers; the training picture that is most like that one, where what is copied would show.",
        tag("ul", [_card(one, album) for one in gallery], class_="gallery rows"),
    )


def _card(record: Mapping[str, Any], album: Album) -> Markup:
    caption, nearest = words(record, "caption") or "caption", words(record, "nearest")
    true, *drawn, like = (*elements(record, "pictures"), None, None)[: max(2, len(elements(record, "pictures")))]
    pictures = tag(
        "div",
        show(album, true, f"True picture of: {caption}"),
        [show(album, identity, f"Drawn for: {caption}") for identity in drawn],
        show(album, like, f"Nearest training picture: {nearest}"),
        class_="pair",
    )
    told = tag("span", f"nearest learned: {nearest}", class_="quiet") if nearest else None
    caption_line = tag("figcaption", tag("span", caption, class_="answer"), told)
    return tag("li", tag("figure", pictures, caption_line, class_="card"))


def _scores_section(results: Mapping[str, Any]) -> Section | None:
    rows = []
    for name, row in _rows(results).items():
        rows.append(
            [name.capitalize(), _cell(row, "preferred", "{:.1%}"), _cell(row, "gain", "{:+.3f}"),
             _plain(number(row, "own"), "{:.3f}"), _plain(number(row, "others"), "{:.3f}")]
        )  # fmt: skip
    if not rows:
        return None
    columns = ["", "Caption preferred", "Own less others", "Own", "Others"]
    reranked, ends = (
        number(results, "judged", "reranking", "value"),
        interval(results, "judged", "reranking", "interval"),
    )
    left_out = "; `generate` does not ask it" if dig(results, "judged", "reranking", "harms") else ""
    gain = (
        note(prose(f"Choosing by the reranker instead of taking the first: {reranked:+.1%} ({ends[0]:+.1%} to "
                   f"{ends[1]:+.1%}) in captions preferred{left_out}."))
        if reranked is not None and ends is not None and len(rows) > 4
        else None
    )  # fmt: skip
    weak = (
        None
        if dig(results, "judged", "scorer", "separates")
        else note("The scorer is too weak: even true pictures do not surely score higher with their own captions. "
                  "Look at the pictures instead.")
    )  # fmt: skip
    return section(
        "scores",
        "Scores",
        "Whether it goes with the caption",
        f"Each picture scored with its own caption and with the other ones, for "
        f"{say_count(number(results, 'judged', 'num_captions'))} held-out captions; below each figure its 95 % "
        "interval over captions.",
        data_table("Scores of pictures with captions", columns, rows, numeric=(1, 2, 3, 4)),
        gain,
        weak,
        note(
            f"Scorer: {words(results, 'judged', 'scorer', 'name')}. It was fitted on the pairs that are learned from. "
            "Drawn under guidance "
            f"{number(results, 'judged', 'guidance') or 0:g}; reranked: the best of "
            f"{say_count(number(results, 'judged', 'num_candidates'))}."
        ),
    )


def _knowledge_section(results: Mapping[str, Any]) -> Section | None:
    nats = dig(results, "judged", "nats")
    if not isinstance(nats, Mapping):
        return None
    rows = [
        ["Its own", _plain(number(nats, "own"), "{:.3f}"), None],
        ["Another picture's", _plain(number(nats, "others"), "{:.3f}"), _cell(nats, "gain_over_others", "{:+.3f}")],
        ["None", _plain(number(nats, "none"), "{:.3f}"), _cell(nats, "gain_over_none", "{:+.3f}")],
    ]
    return section(
        "knowledge",
        "Captions",
        "What the caption tells the model",
        "Nats a code of the true held-out pictures, under three captions: how much the model itself has learned of "
        "what words mean, which needs no scorer.",
        data_table("Nats a code by caption", ["Caption", "Nats a code", "More than its own"], rows, numeric=(1, 2)),
    )


def _sets_section(results: Mapping[str, Any]) -> Section | None:
    copies = dig(results, "judged", "copies")
    if not isinstance(copies, Mapping):
        return None
    rows: list[list[Child]] = [
        ["Likeness to the nearest learned picture, median", _plain(number(copies, "drawn"), "{:.3f}"),
         _plain(number(copies, "true"), "{:.3f}")],
        [f"Taken for a copy (likeness above {number(copies, 'limit') or 0:g})",
         say_percent(number(copies, "share_drawn")), say_percent(number(copies, "share_true"))],
    ]  # fmt: skip
    for key, title in (("precision", "Precision: looks like true ones"), ("recall", "Recall: true ones are covered")):
        value = number(results, "judged", "sets", key)
        if value is not None:
            rows.append([title, say_percent(value), say_percent(number(results, "judged", "sets", f"{key}_true"))])
    told = words(results, "judged", "sets", "features")
    return section(
        "sets",
        "Copies",
        "Whether it copies, and what it leaves out",
        "Drawn pictures, and beside them as many true ones that were not drawn.",
        data_table("Drawn pictures as a set", ["", "Drawn", "True"], rows, numeric=(1, 2)),
        note("Likeness: cosine of 16 x 16 thumbnails less their mean, all as the tokenizer paints them."),
        note(
            f"Precision and recall (Kynkäänniemi et al. 2019) against the true held-out pictures, in {told}; "
            "true: learned pictures against held-out ones."
        )
        if told
        else None,
    )


def _cell(row: Mapping[str, Any], name: str, write: str) -> Child:
    value, ends = number(row, name, "value"), interval(row, name, "interval")
    if value is None:
        return None
    around = tag("small", prose(f"{write} to {write}".format(*ends))) if ends else None
    return [tag("b", prose(write.format(value))), around]


def _plain(value: float | None, write: str) -> Child:
    return None if value is None else prose(write.format(value))
