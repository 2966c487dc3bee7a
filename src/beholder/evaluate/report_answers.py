"""What the model answers: its scores, its confusions, pictures it got right and wrong, unusual ones, and groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beholder.evaluate.chart_tables import Scale, bar_track, confusion_table, data_table, dot_track
from beholder.evaluate.charts import nice_ticks
from beholder.evaluate.markup import Child, Markup, join, tag
from beholder.evaluate.report_pictures import Album, gallery_kind, show_pair
from beholder.evaluate.report_section import Section, name_of, note, num_shown, part, prose, section
from beholder.evaluate.report_values import (
    elements,
    interval,
    number,
    numbers,
    records,
    say_count,
    say_percent,
    say_points,
    say_score,
    say_things,
    words,
)

_MOST_CLASSES = 14
_MOST_CARDS = 12
_MOST_GROUPS = 40


def answers_section(results: Mapping[str, Any], album: Album) -> Section | None:
    """Scores, confusion matrix and the galleries; None without scores and without pictures."""
    shown = [_figures(results), _confusion(results), _galleries(results, album)]
    if all(child is None for child in shown):
        return None
    return section(
        "answers",
        "Answers",
        "What it gets right and wrong",
        "All of this was measured on images that the model did not learn from.",
        *shown,
        _explanation(results),
    )


def _figures(results: Mapping[str, Any]) -> Child:
    metric = words(results, "score", "metric") or "Score"
    ends = interval(results, "score", "interval")
    told = (
        (metric, "value", f"95 % interval {say_score(ends[0])} to {say_score(ends[1])}" if ends else None, say_score),
        ("Accuracy", "accuracy", "share of answers that are right", say_percent),
        ("Balanced accuracy", "balanced_accuracy", "every class counts the same", say_percent),
        ("F1", "f1", "precision and recall in one", say_score),
        ("Calibration error", "calibration_error", "0 when a stated 90 % is right 90 % of the time", say_score),
    )
    figures = [
        tag("div", tag("dt", name), tag("dd", tag("span", say(value), class_="big"), tag("span", prose(said))))
        for name, key, said, say in told
        if (value := number(results, "score", key)) is not None
    ]
    return tag("dl", figures, class_="figures small") if figures else None


def _confusion(results: Mapping[str, Any]) -> Child:
    labels = [words(label) or "unnamed" for label in elements(results, "score", "confusion", "labels")]
    counts = [numbers(row) for row in elements(results, "score", "confusion", "counts")]
    counts = [row[: len(labels)] for row in counts[: len(labels)]]
    if not labels or not any(counts):
        return None
    if len(labels) <= _MOST_CLASSES:
        return part(
            "Labels and answers",
            confusion_table(labels, counts),
            note("Rows: the label in the data. Columns: the model’s answer. Percentages are of the row."),
        )
    mistakes = sorted(
        (
            (value, labels[row], labels[column])
            for row, line in enumerate(counts)
            for column, value in enumerate(line)
            if row != column and value
        ),
        reverse=True,
    )
    rows = [[tag("bdi", label), tag("bdi", answer), say_count(value)] for value, label, answer in mistakes[:12]]
    title = "The most frequent mistakes"
    return part(title, data_table(title, ["Label", "Answer", "Images"], rows, numeric=(2,))) if rows else None


def _galleries(results: Mapping[str, Any], album: Album) -> Child:
    wrong, right = records(results, "gallery", "wrong"), records(results, "gallery", "right")
    if not (wrong or right):
        return None
    has_heat = any(record.get("heat") for record in (*wrong, *right))
    heat = "Left the image, right the same image with the places that speak for the answer in warm colours."
    num_right, num_wrong = _num_answers(results)
    return join(
        note(heat) if has_heat else None,
        _gallery("Wrong answers", wrong, album, "✗", "wrong", num_wrong, "the surest first"),
        _gallery("Right answers", right, album, "✓", "right", num_right, "the surest of each class"),
    )


def _num_answers(results: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """How many answers are right and how many wrong, by the confusion matrix."""
    counts = [numbers(row) for row in elements(results, "score", "confusion", "counts")]
    if not counts or any(len(row) != len(counts) for row in counts):
        return None, None
    num_right = sum(row[index] or 0.0 for index, row in enumerate(counts))
    return num_right, sum(value or 0.0 for row in counts for value in row) - num_right


def _gallery(
    title: str, found: list[Mapping[str, Any]], album: Album, sign: str, kind: str, num: float | None, order: str
) -> Child:
    if not found:
        return None
    cards = [_card(record, album, sign, kind) for record in found[:_MOST_CARDS]]
    cut = num_shown(len(cards), max(num or 0.0, len(found)), order)
    return part(title, cut, tag("ul", cards, class_=gallery_kind(found, album)))


def _card(record: Mapping[str, Any], album: Album, sign: str, kind: str) -> Markup:
    key, label, predicted = words(record, "key"), words(record, "label"), words(record, "predicted")
    probability = number(record, "probability")
    answer = tag(
        "p",
        tag("span", sign, class_="sign", aria_hidden="true"),
        tag("span", f"{kind}: ", class_="unseen"),
        tag("bdi", predicted or "no answer"),
        tag("span", f" {say_percent(probability)}", class_="quiet") if probability is not None else None,
        class_=f"answer {kind}",
    )
    truth = tag("p", "label: ", tag("bdi", label), class_="quiet") if label is not None else None
    caption = tag("figcaption", answer, truth if kind == "wrong" else None, tag("p", name_of(key), class_="quiet"))
    return tag("li", tag("figure", show_pair(album, record, key or "unnamed"), caption, class_=f"card {kind}"))


def _explanation(results: Mapping[str, Any]) -> Child:
    sentence = words(results, "explanation", "sentence")
    important = number(results, "explanation", "deletion", "important_drop")
    random = number(results, "explanation", "deletion", "random_drop")
    if sentence is None and (important is None or random is None):
        return None
    children: list[Child] = [tag("p", prose(sentence)) if sentence else None]
    if important is not None and random is not None:
        largest = max(abs(important), abs(random), 1e-9)
        items = [
            tag(
                "li",
                tag("span", name, class_="name"),
                bar_track(drop / largest, colour=colour, told=f"{name}: {said}"),
                tag("b", said, class_="value"),
            )
            for name, drop, colour in (
                ("Blurring what the heat map marks", important, "adapted"),
                ("Blurring as much at random", random, "trivial"),
            )
            for said in [f"{say_points(-drop)} points"]
        ]
        num, better = (number(results, "explanation", "deletion", key) for key in ("num", "share_better"))
        told = f"Tested on {say_things(num, 'image')}." if num is not None else ""
        if better is not None:
            told += f" The marked parts mattered more in {say_percent(better)} of them."
        children += [tag("ul", items, class_="bars"), note(told) if told else None]
    return part("Do the heat maps tell the truth?", children)


def unusual_section(results: Mapping[str, Any], album: Album) -> Section | None:
    """The images least like the rest, with scores and threshold."""
    items = records(results, "unusual", "items")
    sentence = words(results, "unusual", "sentence")
    if not items and sentence is None:
        return None
    threshold = number(results, "unusual", "threshold")
    scores = [score for item in items if (score := number(item, "score")) is not None]
    largest = max([*scores, threshold or 0.0], default=0.0) or 1.0
    cards = [_unusual_card(item, album, threshold, largest) for item in items[:_MOST_CARDS]]
    return section(
        "unusual",
        "Unusual images",
        "Images unlike the rest",
        prose(sentence),
        _unusual_note(results, threshold),
        num_shown(len(cards), max(number(results, "data", "num_kept") or 0.0, len(items)), "the most unusual first"),
        tag("ul", cards, class_=gallery_kind(items, album)) if cards else None,
    )


def _unusual_note(results: Mapping[str, Any], threshold: float | None) -> Child:
    said: list[str] = []
    if threshold is not None:
        said.append(f"An image counts as unusual above a score of {threshold:.2f}, the upright line in each bar.")
    auroc = number(results, "unusual", "auroc")
    if auroc is not None:
        said.append(f"On the test part the score tells normal from other labels with an AUC of {say_score(auroc)}.")
    return note(" ".join(said)) if said else None


def _unusual_card(item: Mapping[str, Any], album: Album, threshold: float | None, largest: float) -> Markup:
    key, score, p_value = words(item, "key"), number(item, "score"), number(item, "p_value")
    label = words(item, "label")
    is_over = score is not None and threshold is not None and score > threshold
    said = "no score" if score is None else f"score {score:.2f}"
    told = said + ("" if threshold is None else f", threshold {threshold:.2f}")
    tick = None if threshold is None else threshold / largest
    bar = bar_track((score or 0.0) / largest, colour="hurt" if is_over else "trivial", told=told, tick=tick)
    line = tag(
        "p",
        tag("b", said),
        tag("span", f" p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{p_value:.2g}", class_="quiet")
        if p_value is not None
        else None,
        class_="answer",
    )
    status = None if score is None or threshold is None else ("above the line" if is_over else "below the line")
    more = [tag("bdi", label) if label else None, " · " if label and status else None, status]
    caption = tag(
        "figcaption",
        bar,
        line,
        tag("p", more, class_="quiet") if label or status else None,
        tag("p", name_of(key), class_="quiet"),
    )
    return tag("li", tag("figure", show_pair(album, item, key or "unnamed"), caption, class_="card"))


def groups_section(results: Mapping[str, Any]) -> Section | None:
    """A dot for each group's score: who is served worse than the rest."""
    rows = records(results, "groups", "rows")
    sentence = words(results, "groups", "sentence")
    if not rows and sentence is None:
        return None
    scored = sorted(
        (row for row in rows if number(row, "score") is not None), key=lambda row: number(row, "score") or 0.0
    )
    unscored = [row for row in rows if number(row, "score") is None]
    overall = number(results, "score", "value")
    values = [value for row in scored if (value := number(row, "score")) is not None]
    values += [overall] if overall is not None else []
    low, high = min(values, default=0.0), max(values, default=1.0)
    levels = nice_ticks(low, high) if high > low else [low, high]
    scale = Scale(levels[0], levels[-1], 4.0)
    most = max((number(row, "num") or 0.0 for row in rows), default=0.0) or 1.0
    cells = [_group_row(row, scale, most, overall) for row in (scored + unscored)[:_MOST_GROUPS]]
    metric = words(results, "score", "metric") or "Score"
    ends = tag("span", tag("span", f"{scale.low:g}"), tag("span", f"{scale.high:g}"), class_="ends")
    columns = ["Group", metric, ends, "Images", "Positive"]
    hidden = len(rows) - _MOST_GROUPS
    told = " ".join(
        filter(
            None,
            (
                "Lowest first; a larger dot means more images.",
                f"The upright line is the score of all images, {say_score(overall)}." if overall is not None else None,
                f"{say_things(hidden, 'more group')} with higher scores not shown." if hidden > 0 else None,
            ),
        )
    )
    return section(
        "groups",
        "Groups",
        "Is it as good for every group?",
        prose(sentence),
        data_table("Score of each group", columns, cells, numeric=(1, 3, 4)) if cells else None,
        note(told) if cells else None,
    )


def _group_row(row: Mapping[str, Any], scale: Scale, most: float, overall: float | None) -> list[Child]:
    name, score, num = words(row, "group") or "unnamed", number(row, "score"), number(row, "num")
    told = f"{name}: {say_score(score)} on {say_things(num, 'image')}"
    weight = min(max((num or 0.0) / most, 0.02), 1.0)
    track = dot_track(scale, score, colour="generic", told=told, weight=weight, reference=overall)
    return [
        name_of(name),
        tag("b", say_score(score)) if score is not None else "not scored",
        tag("span", track, class_="track-cell"),
        say_count(num),
        say_percent(number(row, "share_positive")),
    ]
