"""The first screen: the verdict in one sentence, what is shipped, and the figures that matter most."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from beholder.evaluate.chart_tables import Scale, dot_track
from beholder.evaluate.markup import Child, Markup, join, tag
from beholder.evaluate.report_section import prose
from beholder.evaluate.report_values import (
    interval,
    number,
    records,
    say_count,
    say_joules,
    say_points,
    say_score,
    say_seconds,
    say_times,
    texts,
    words,
)

_OUTCOMES = {
    "helped": ("helped", "▲", "Adapting helped"),
    "no difference": ("same", "=", "No difference"),
    "hurt": ("hurt", "▼", "Adapting hurt"),
    "not judged": ("unknown", "?", "Not judged"),
}
_ASIDE = re.compile(r"\s+(?=\(\d+\s?% interval)|(?<=[;.])\s+")
_WITHOUT_SENTENCE = {
    "helped": "Adapting to these images made the model better.",
    "no difference": "Adapting to these images made no difference that could be measured.",
    "hurt": "Adapting to these images made the model worse.",
    "not judged": "Whether adapting helped could not be judged.",
}
_SHIPPED = {
    "generic": "features learnt from everyday pictures, left as they were",
    "adapted": "features that studied these images",
    "generic + adapted": "features from everyday pictures and from these images, side by side",
    "fine-tuned": "features that learnt from the labels",
    "generic + fine-tuned": "features from everyday pictures and features that learnt from the labels, side by side",
}


def opening(results: Mapping[str, Any]) -> Markup:
    """The page's header: name, mark, verdict, shipped model, key figures."""
    outcome = words(results, "verdict", "outcome")
    known = outcome if outcome in _OUTCOMES else "not judged"
    colour, sign, title = _OUTCOMES[known]
    mark = tag("p", tag("span", sign, class_="sign", aria_hidden="true"), title, class_="mark")
    reason, details = _reason(results)
    return tag(
        "header",
        kicker(results),
        mark,
        _headline(results, known),
        tag("p", prose(" ".join(details)), class_="details") if details else None,
        tag("div", _difference(results, colour), _shipped(results, reason), class_="evidence"),
        _figures(results),
        class_=f"opening {colour}",
    )


def _reason(results: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """Why the shipped model was chosen, which is told beside its name, and the other details."""
    details = texts(results, "verdict", "details")
    start = f"Shipped: {words(results, 'verdict', 'shipped')}, because "
    reasons = [detail.removeprefix(start) for detail in details if detail.startswith(start)]
    return (reasons[0] if reasons else None), [detail for detail in details if not detail.startswith(start)]


def kicker(results: Mapping[str, Any]) -> Markup:
    """The run's name, its data and its day."""
    name = words(results, "name")
    created = words(results, "created")
    description = words(results, "data", "description")
    return tag(
        "p",
        tag("strong", tag("bdi", name)) if name else "A beholder run",
        tag("span", tag("bdi", description)) if description else None,
        tag("time", created[:10], datetime=created) if created else None,
        class_="kicker",
    )


def _headline(results: Mapping[str, Any], outcome: str) -> Markup:
    """The sentence with its weight on the finding: the interval and what follows it are set lighter."""
    sentence = words(results, "verdict", "sentence") or _WITHOUT_SENTENCE[outcome]
    prefix, separator, rest = sentence.partition(":")
    if separator and prefix.strip().lower() in (outcome, f"adapting {outcome}") and rest.strip():
        sentence = rest.strip()[0].upper() + rest.strip()[1:]
    cut = _ASIDE.search(sentence)
    if cut is None:
        return tag("h1", prose(sentence))
    finding, aside = sentence[: cut.start()], sentence[cut.end() :]
    return tag("h1", prose(finding), " ", tag("span", prose(aside), class_="aside"))


def _difference(results: Mapping[str, Any], colour: str) -> Child:
    """The measured change on a line around zero, which shows at a glance whether the interval leaves zero out."""
    change = number(results, "verdict", "difference")
    ends = interval(results, "verdict", "interval")
    if change is None or ends is None:
        return None
    smallest = number(results, "verdict", "smallest_gain")
    reach = 1.15 * max(abs(change), abs(ends[0]), abs(ends[1]), smallest or 0.0, 1e-4)
    metric = words(results, "verdict", "metric") or "score"
    told = f"Change of the {metric}: {say_points(change)} points, 95 % interval {_range(ends)}"
    track = dot_track(
        Scale(-reach, reach, 1.0), change, colour=colour, told=told, weight=0.7, interval=ends, reference=0
    )
    legend = [tag("span", "worse"), tag("span", "no change", class_="middle"), tag("span", "better", class_="last")]
    sentence = words(results, "verdict", "sentence")
    said = ["Dot: the measured change. Bar: its 95 % interval." if sentence else f"{told}."]
    if smallest is not None and f"{smallest * 100:.1f} points" not in (sentence or ""):
        said.append(f"The smallest gain this data could show is {smallest * 100:.1f} points.")
    caption = tag("figcaption", " ".join(said))
    return tag("figure", tag("div", legend, class_="poles", aria_hidden="true"), track, caption, class_="difference")


def _shipped(results: Mapping[str, Any], reason: str | None) -> Child:
    shipped = words(results, "verdict", "shipped")
    guard = words(results, "verdict", "guard")
    protocol = words(results, "verdict", "protocol")
    if not (shipped or guard or protocol):
        return None
    meaning = _SHIPPED.get(shipped or "")
    model = (
        [
            "Shipped model: ",
            tag("strong", shipped),
            f" ({meaning})" if meaning else None,
            [", because ", prose(reason)] if reason else ".",
        ]
        if shipped
        else None
    )
    return tag(
        "div",
        tag("p", model) if model else None,
        tag("p", tag("b", "Guard"), " ", prose(guard)) if guard else None,
        tag("p", tag("b", "How it was judged"), " ", prose(protocol)) if protocol else None,
        class_="shipped",
    )


def _figures(results: Mapping[str, Any]) -> Child:
    figures = [images_figure(results), _saved(results), _score(results), cost_figure(results)]
    shown = [one for one in figures if one is not None]
    return tag("dl", shown, class_="figures") if shown else None


def images_figure(results: Mapping[str, Any]) -> Markup | None:
    """How many pictures there were."""
    found, kept = number(results, "data", "num_found"), number(results, "data", "num_kept")
    labelled = number(results, "data", "num_labelled")
    if found is None and kept is None:
        return None
    said = []
    if labelled is not None:
        said.append("none labelled" if labelled == 0 else f"{say_count(labelled)} labelled")
    if found is not None and kept is not None and found > kept:
        said.append(f"{say_count(found - kept)} set aside")
    return figure("Images", say_count(kept if kept is not None else found), ", ".join(said))


def _saved(results: Mapping[str, Any]) -> Markup | None:
    """The saving of what is shipped; the last method that has one where the shipped one is not named."""
    measured = [row for row in records(results, "labels_saved", "rows") if number(row, "ratio") is not None]
    if not measured:
        return None
    shipped = (words(results, "verdict", "shipped") or "").casefold()
    named = [row for row in measured if shipped in ((words(row, key) or "").casefold() for key in ("name", "title"))]
    picked = {words(arm, "name") for arm in records(results, "curve", "arms") if arm.get("picked") is True}
    drawn = [row for row in measured if words(row, "name") not in picked]
    row = (named or drawn or measured)[-1]
    ratio, ends = say_times(number(row, "ratio")), interval(row, "interval")
    title = words(row, "title") or words(row, "name") or "the best method"
    around = None if ends is None else f"95 % interval {say_times(ends[0])} to {say_times(ends[1])}"
    if ends is None or ends[0] <= 1:  # a large figure would promise what the data does not show
        return figure("Fewer labels", "unclear", f"{ratio} by {title}, {around or 'in some draws not reached'}")
    at_least = "≥ " if row.get("is_at_least") is True else ""
    return figure("Fewer labels", f"{at_least}{ratio}", f"by {title} ({around})")


def _score(results: Mapping[str, Any]) -> Markup | None:
    value = number(results, "score", "value")
    if value is None:
        return None
    ends = interval(results, "score", "interval")
    said = f"95 % interval {say_score(ends[0])} to {say_score(ends[1])}" if ends else "on images the model never saw"
    return figure(words(results, "score", "metric") or "Score", say_score(value), said)


def cost_figure(results: Mapping[str, Any]) -> Markup | None:
    """Time and energy of the whole run."""
    seconds = number(results, "wall_seconds")
    seconds = number(results, "cost", "total", "seconds") if seconds is None else seconds
    if seconds is None:
        return None
    joules = number(results, "cost", "total", "joules")
    said = words(results, "machine", "device")
    energy = say_joules(joules) if joules is not None else None
    pieces = say_seconds(seconds).split("\N{NO-BREAK SPACE}")
    value = [tag("small", piece) if place % 2 else piece for place, piece in enumerate(pieces)]
    return figure("Time", value, ", ".join(filter(None, (energy, f"on {said}" if said else None))))


def figure(name: str, value: Child, said: str) -> Markup:
    """A large number with its name and a sentence below."""
    return tag(
        "div", tag("dt", name), tag("dd", tag("span", value, class_="big"), tag("span", prose(said)) if said else None)
    )


def _range(ends: Sequence[float]) -> str:
    return join(say_points(ends[0]), " to ", say_points(ends[1]))
