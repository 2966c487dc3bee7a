"""`report.html` of a language model: how well it foretells held-out texts, beside what, and what it writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beholder.evaluate.chart_tables import data_table
from beholder.evaluate.markup import Child, Markup, tag
from beholder.evaluate.report import render_page
from beholder.evaluate.report_data import data_section
from beholder.evaluate.report_opening import after_semicolon, opening_of, weights_figure
from beholder.evaluate.report_pictures import open_album
from beholder.evaluate.report_run import cost_section, glossary_section, settings_section
from beholder.evaluate.report_section import Section, note, prose, section
from beholder.evaluate.report_training import training_section
from beholder.evaluate.report_values import dig, interval, number, records, say_count, words
from beholder.evaluate.report_verdict import cost_figure, figure
from beholder.runtime.files import write_text

_MODEL, _BEFORE = "model", "before this training"
_AHEAD, _SAME, _BEHIND = (
    ("helped", "▲", "Foretells held-out texts"),
    ("same", "=", "No surer than before"),
    ("hurt", "▼", "Worse than without it"),
)
_GLOSSARY = (
    (
        "Bits a byte",
        "How many yes-or-no answers the model still needs for each byte of a text that it has not seen: 8 if it knew "
        "nothing, 0 if it knew the text. It compares across tokenizers.",
    ),
    (
        "Perplexity",
        "Among how many equally likely tokens the model hesitates, on average. It compares only where tokens are the "
        "same.",
    ),
    (
        "Frequency of tokens",
        "Foretelling by nothing but how often each token came in the texts that were learned from.",
    ),
    (
        "xz",
        "A general archiver that first reads all texts that were learned from. A model that has learned the language, "
        "and not only repetitions, is below it.",
    ),
)


def write_language_report(results: Mapping[str, Any], path: Path) -> None:
    """Write one self-contained page."""
    album = open_album(results, {})
    chapters = (
        _scores_section(results),
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
    found = _rows(results)
    bits = number(found.get(_MODEL), "bits_per_byte")
    if bits is None:
        return "Nothing was judged."
    low, high = interval(found[_MODEL], "interval") or (bits, bits)
    beside = _BEFORE if _BEFORE in found else "frequency of tokens"
    other = number(found.get(beside), "bits_per_byte")
    packed = number(found.get("xz"), "bits_per_byte")
    told = (f"; {beside} {other:.3f}" if other is not None else "") + (f"; xz {packed:.3f}" if packed else "")
    return f"Held-out {words(results, 'kind')} cost {bits:.3f} bits a byte ({low:.3f} to {high:.3f}){told}."


def _rows(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    rows = dig(results, "judged", "rows")
    return dict(rows) if isinstance(rows, Mapping) else {}


def _opening(results: Mapping[str, Any]) -> Markup:
    found = _rows(results)
    beside = found.get(_BEFORE, found.get("frequency of tokens"))
    low, high = interval(beside, "behind", "interval") or (0.0, 0.0)
    mark = _AHEAD if low > 0 else _BEHIND if high < 0 else _SAME
    model = found.get(_MODEL)
    shown = [
        figure("Bits a byte", f"{number(model, 'bits_per_byte') or 0:.2f}", "of held-out texts"),
        figure("Perplexity", f"{number(model, 'perplexity') or 0:.1f}", "a token"),
        weights_figure(results, "million"),
        cost_figure(results),
    ]
    return opening_of(results, mark, *after_semicolon(headline(results)), shown)


def _scores_section(results: Mapping[str, Any]) -> Section | None:
    found = _rows(results)
    if not found:
        return None
    rows: list[list[Child]] = []
    for name, row in found.items():
        ahead, ends = number(row, "behind", "value"), interval(row, "behind", "interval")
        gain = (
            [prose(f"{ahead:+.3f}"), tag("small", prose(f"{ends[0]:+.3f} to {ends[1]:+.3f}"))]
            if ahead is not None and ends is not None
            else None
        )
        bits, perplexity = number(row, "bits_per_byte"), number(row, "perplexity")
        rows.append([
            name.capitalize() if name != "xz" else name,
            None if bits is None else tag("b", f"{bits:.3f}"),
            None if perplexity is None else f"{perplexity:,.1f}",
            gain,
        ])  # fmt: skip
    judged = dig(results, "judged")
    return section(
        "scores",
        "Scores",
        "How well held-out texts are foretold",
        f"{say_count(number(judged, 'num_judged'))} held-out {words(results, 'kind')}, "
        f"{say_count(number(judged, 'num_bytes'))} bytes; fewer bits are better. Below each lead stands its 95 % "
        "interval over texts.",
        data_table(
            "Bits a byte of held-out texts",
            ["Who foretells", "Bits a byte", "Perplexity a token", "Model ahead, bits"], rows, numeric=(1, 2, 3),
        ),
        note(
            "Parts are drawn by chance: stretches of one file stand on both sides, so this tells how well it foretells "
            "more of the same."
        ),
    )  # fmt: skip


def _samples_section(results: Mapping[str, Any]) -> Section | None:
    found = records(results, "samples")
    if not found:
        return None
    is_asked = words(results, "kind") == "conversations"
    columns = ["Question", "The model", "True answer"] if is_asked else ["Held-out beginning", "The model", "The text"]
    rows: list[list[Child]] = [[words(one, key) for key in ("begun", "written", "right")] for one in found]
    return section(
        "samples",
        "Samples",
        "What it writes",
        "Drawn with temperature 0.8 from the likeliest 95 %, the first of each; none was chosen.",
        data_table("What the model writes after held-out beginnings", columns, rows),
    )
