"""What the run cost and how to repeat it: cost, settings, and a glossary in plain sentences."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from beholder.evaluate.chart_tables import bar_track, data_table
from beholder.evaluate.markup import Child, Markup, tag
from beholder.evaluate.report_section import Section, note, part, section, with_options
from beholder.evaluate.report_values import (
    dig,
    number,
    records,
    say_bytes,
    say_joules,
    say_seconds,
    words,
)

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
        "p",
        "The share of ordinary images that are at least as unusual as this one, so that a small p means odd.",
    ),
    (
        "No difference",
        "The interval of the change includes zero: a gain may exist, but it is too small for this data to show.",
    ),
)


def cost_section(results: Mapping[str, Any]) -> Section | None:
    """Seconds, energy and memory of each stage, against what had been estimated."""
    rows = records(results, "cost", "rows")
    total = dig(results, "cost", "total")
    total = total if isinstance(total, Mapping) else {}
    if not rows and not total:
        return None
    longest = max((number(row, "seconds") or 0.0 for row in rows), default=0.0) or 1.0
    sources = {words(row, "joules_source") for row in (*rows, total)} - {None}
    cells = [_cost_row(row, longest, len(sources) > 1) for row in rows]
    if total:
        cells.append(_cost_row({"stage": "Total", **total}, None, len(sources) > 1))
    columns = ["Stage", "Time", "", "Estimated before", "Energy", "Peak memory"]
    return section(
        "cost",
        "Cost",
        "What it cost",
        _thousand(results),
        data_table("Cost of each stage", columns, cells, numeric=(1, 3, 4, 5)),
        note(f"Energy: {sources.pop()}.") if len(sources) == 1 else None,
    )


def _cost_row(row: Mapping[str, Any], longest: float | None, has_source: bool) -> list[Child]:
    stage, seconds = words(row, "stage") or "unnamed", number(row, "seconds")
    source = words(row, "joules_source") if has_source else None
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
    keys = ("seconds", "joules", "peak_memory_bytes")
    seconds, joules, memory = (number(results, "cost", "per_thousand", key) for key in keys)
    disk = number(results, "cost", "disk_bytes")
    said: list[str] = []
    if seconds is not None:
        energy = f" and {say_joules(joules)}" if joules is not None else ""
        within = f", within {say_bytes(memory)} of memory" if memory is not None else ""
        said.append(f"A thousand predictions take {say_seconds(seconds)}{energy}{within}.")
    if disk is not None:
        said.append(f"The run takes {say_bytes(disk)} on disk.")
    return " ".join(said) or None


def settings_section(results: Mapping[str, Any], absent: Sequence[str]) -> Section | None:
    """What is needed to do the same again, and what this run did not measure."""
    command = words(results, "command")
    told = [
        ("beholder", words(results, "version")),
        ("Date", _date(words(results, "created"))),
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
        tag("pre", tag("code", with_options(command)), tabindex=0) if command else None,
        tag("dl", facts, class_="facts") if facts else None,
        part("Not in this report", missing) if absent else None,
    )


def _date(created: str | None) -> str | None:
    """2026-11-21 10:15 UTC, where it is a time that reads so."""
    if created is None or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?(\+00:00|Z)", created):
        return created
    return f"{created[:10]} {created[11:16]} UTC"


def glossary_section(words_told: Sequence[tuple[str, str]] = _GLOSSARY) -> Section:
    """Words of this page in plain sentences."""
    entries = [tag("div", tag("dt", term), tag("dd", meaning)) for term, meaning in words_told]
    return section("glossary", "Words", "Words on this page", None, tag("dl", entries, class_="glossary"))


def footer(results: Mapping[str, Any]) -> Markup:
    version = words(results, "version")
    return tag("footer", note("Made by beholder", f" {version}" if version else None, ". This page needs no network."))
