"""`report.html`: the whole run on one page that needs no network and no script, to be looked at more than read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from beholder.evaluate.markup import Markup, join, tag
from beholder.evaluate.report_answers import answers_section, groups_section, unusual_section
from beholder.evaluate.report_curve import curve_section
from beholder.evaluate.report_data import data_section, embeddings_section
from beholder.evaluate.report_pictures import Album, open_album, symbols
from beholder.evaluate.report_run import cost_section, footer, glossary_section, settings_section
from beholder.evaluate.report_section import Section
from beholder.evaluate.report_training import training_section
from beholder.evaluate.report_values import words
from beholder.evaluate.report_verdict import opening
from beholder.runtime.files import write_text

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E"
    "%3Cpath d='M2 16Q16 2 30 16 16 30 2 16Z' fill='none' stroke='%230072b2' stroke-width='3'/%3E"
    "%3Ccircle cx='16' cy='16' r='5' fill='%230072b2'/%3E%3C/svg%3E"
)


def write_report(results: Mapping[str, Any], pictures: Mapping[str, bytes], path: Path) -> None:
    """Write one self-contained page about a run.

    `results` are JSON values of which any may be missing or None: a section without values is left out and named at the
    end of the page. `pictures` are encoded images (JPEG, PNG, WebP, GIF) by the ids that `results` mentions; each is
    stored once. All text is escaped, and the page's own policy forbids every request.
    """
    write_text(path, render_report(results, pictures))


def render_report(results: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """The page of a run of `adapt` as text."""
    album = open_album(results, pictures)
    found = (
        (curve_section(results), "No label curve: too few labels, or none, to compare methods."),
        (answers_section(results, album), "No answers were judged: that takes labels."),
        (
            unusual_section(results, album),
            "No search for unusual images: that takes 40 normal ones to learn from.",
        ),
        (groups_section(results), "No scores per group: the images name no groups, or none could be scored."),
        (embeddings_section(results, album), "The embeddings were not examined."),
        (training_section(results), "Nothing was trained, so there is no training curve."),
        (data_section(results, album), "Nothing is told about the data."),
        (cost_section(results), "The cost was not measured."),
    )
    absent = [sentence for built, sentence in found if built is None]
    built = [one for one, _ in found] + [settings_section(results, absent), glossary_section()]
    return render_page(results, album, opening(results), built)


def render_page(results: Mapping[str, Any], album: Album, header: Markup, chapters: Sequence[Section | None]) -> str:
    """A page as text: the header, which is its first screen, and those chapters that there are."""
    sections = [one for one in chapters if one is not None]
    main = tag("main", header, [one.body for one in sections], id="main")
    page = join(_contents(sections), main, footer(results))
    body = tag(
        "body",
        tag("a", "Skip to the report", href="#main", class_="skip"),
        symbols(album, page),
        tag("div", page, class_="page"),
        tag("script", Markup(_packaged("report.js"))),
    )
    return f"<!doctype html>\n{tag('html', head(results), body, lang='en')}\n"


def head(results: Mapping[str, Any]) -> Markup:
    name = words(results, "name")
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{name} · beholder report" if name else "beholder report"),
        tag("link", rel="icon", href=Markup(_ICON)),
        tag("style", Markup(_packaged("report.css"))),
    )


def _contents(sections: Sequence[Section]) -> Markup:
    links = [tag("li", tag("a", one.short, href=f"#{one.name}")) for one in sections]
    first = tag("li", tag("a", "Verdict", href="#main"))
    brand = tag("p", "beholder", class_="brand")
    return tag("nav", brand, tag("ol", first, links), aria_label="Contents")


def _packaged(name: str) -> str:
    return files("beholder.evaluate").joinpath(name).read_text(encoding="utf-8")
