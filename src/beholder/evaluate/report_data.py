"""What the images are: how many were kept, duplicates, outliers, classes, and what the embeddings make of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from beholder.evaluate.chart_tables import bar_list, bar_track, data_table, stacked_bar
from beholder.evaluate.markup import Child, Markup, join, tag
from beholder.evaluate.report_pictures import Album, show
from beholder.evaluate.report_section import Section, folded, name_of, note, num_shown, part, prose, section
from beholder.evaluate.report_values import (
    ABSENT,
    counts,
    elements,
    number,
    records,
    say_count,
    say_percent,
    say_things,
    texts,
    words,
)

_SHARES = ("generic", "last-layer", "adapted", "other", "trivial")
_MOST_CLASSES = 20
_MOST_REFUSED = 200
_MOST_SHOWN = 12


def data_section(results: Mapping[str, Any], album: Album) -> Section | None:
    """Counts, classes and everything that curation found; None when neither is told."""
    shown = [
        _counted(results),
        _classes(results),
        _duplicates(results, album),
        _conflicts(results),
        _outliers(results, album),
        _quarantine(results),
        _notes(results),
    ]
    if all(child is None for child in shown):
        return None
    return section("data", "Data", "The images it was given", prose(_sentence(results)), *shown)


def _sentence(results: Mapping[str, Any]) -> str | None:
    folder, layout = words(results, "data", "folder"), words(results, "data", "layout")
    groups, source = number(results, "data", "num_groups"), words(results, "data", "group_source")
    train, test = number(results, "data", "split", "train"), number(results, "data", "split", "test")
    said: list[str] = []
    if folder:
        said.append(f"Read from {folder}" + (f" ({layout})." if layout else "."))
    if groups is not None:
        said.append(say_things(groups, "group") + (f", {source}." if source else "."))
    if train is not None and test is not None:
        said.append(f"{say_count(train)} images to learn from, {say_count(test)} to judge by.")
    return " ".join(said) or None


def _counted(results: Mapping[str, Any]) -> Child:
    kept = number(results, "data", "num_kept")
    refused = number(results, "data", "num_quarantined")
    found = number(results, "data", "num_found")
    if kept is None or found is None or found <= 0:
        return None
    refused = refused or 0.0
    parts = [("Kept", kept, "generic")] + ([("Quarantined", refused, "hurt")] if refused else [])
    rest = found - kept - refused
    if rest > 0:
        parts.append(("Others left out", rest, "trivial"))
    described = ", ".join(f"{name} {say_count(count)}" for name, count, _ in parts)
    return tag("figure", stacked_bar(parts, description=described), _key(parts, found), class_="whole")


def _key(parts: list[tuple[str, float, str]], total: float) -> Markup:
    items = [
        tag(
            "li",
            tag("span", class_=f"chip {colour}", aria_hidden="true"),
            tag("bdi", name),
            " ",
            tag("b", say_count(count)),
            tag("span", f" {say_percent(count / total if total else None)}", class_="quiet"),
        )
        for name, count, colour in parts
    ]
    return tag("ul", items, class_="key-list")


def _classes(results: Mapping[str, Any]) -> Child:
    found = sorted(counts(results, "data", "classes").items(), key=lambda item: -item[1])
    if not found:
        return None
    total = sum(count for _, count in found)
    more = len(found) - _MOST_CLASSES
    return part(
        "Classes",
        bar_list(found[:_MOST_CLASSES], colour="generic", total=total),
        note(f"{say_things(more, 'smaller class', 'smaller classes')} not shown.") if more > 0 else None,
    )


def _duplicates(results: Mapping[str, Any], album: Album) -> Child:
    found = records(results, "curation", "duplicates")
    if not found:
        return None
    items = []
    for record in found[:_MOST_SHOWN]:
        keys, pictures = texts(record, "keys"), elements(record, "pictures")
        row = [show(album, one, keys[i] if i < len(keys) else "duplicate") for i, one in enumerate(pictures[:4])]
        names = [tag("p", name_of(key), class_="quiet") for key in keys[:4]]
        more = len(keys) - 4
        kind = tag("p", tag("b", words(record, "kind") or "duplicate"), class_="answer")
        rest = tag("p", f"and {say_count(more)} more", class_="quiet") if more > 0 else None
        items.append(
            tag(
                "li", tag("figure", tag("div", row, class_="pair"), tag("figcaption", kind, names, rest), class_="card")
            )
        )
    total = _total(results, "num_duplicates", found)
    said = f"{say_things(total, 'set')} of images that show the same thing."
    cut = num_shown(len(items), total)
    return part("Duplicates", tag("p", said), cut, tag("ul", items, class_="gallery"))


def _conflicts(results: Mapping[str, Any]) -> Child:
    found = records(results, "curation", "conflicts")
    if not found:
        return None
    rows = [
        [
            [tag("span", name_of(key), class_="line") for key in texts(record, "keys")],
            [tag("span", tag("bdi", label), class_="line") for label in texts(record, "labels")],
        ]
        for record in found
    ]
    title, columns = "The same image under two labels", ["Images", "Labels"]
    rest = rows[_MOST_SHOWN:]
    more = folded(f"{say_count(len(rest))} more", data_table(f"{title}, more", columns, rest)) if rest else None
    cut = num_shown(len(rows), _total(results, "num_conflicts", found))
    return part(title, data_table(title, columns, rows[:_MOST_SHOWN]), more, cut)


def _outliers(results: Mapping[str, Any], album: Album) -> Child:
    found = records(results, "curation", "outliers")
    if not found:
        return None
    items = []
    for record in found[:_MOST_SHOWN]:
        key, value = words(record, "key"), number(record, "value")
        what = words(record, "what") or "unusual"
        said = tag("p", tag("b", what), f" {value:.3g}" if value is not None else None, class_="answer")
        figure = tag("div", show(album, record.get("picture"), key or "unnamed"), class_="pair")
        items.append(
            tag(
                "li",
                tag("figure", figure, tag("figcaption", said, tag("p", name_of(key), class_="quiet")), class_="card"),
            )
        )
    cut = num_shown(len(items), _total(results, "num_outliers", found))
    return part("Too dark, too blurred, too odd", cut, tag("ul", items, class_="gallery small"))


def _total(results: Mapping[str, Any], key: str, listed: Sequence[object]) -> int:
    """How many there are, of which so many are listed."""
    return int(max(number(results, "curation", key) or 0, len(listed)))


def _quarantine(results: Mapping[str, Any]) -> Child:
    found = records(results, "curation", "quarantine")
    if not found:
        return None
    reasons = Counter(words(record, "reason") or "no reason given" for record in found)
    rows = [[name_of(words(record, "key")), words(record, "reason") or ABSENT] for record in found[:_MOST_REFUSED]]
    num = max(number(results, "data", "num_quarantined") or 0.0, len(found))
    more = num - len(rows)
    return part(
        "Quarantine",
        tag("p", f"{say_things(num, 'file')} could not be used; nothing was deleted."),
        bar_list([(reason, float(count)) for reason, count in reasons.most_common(12)], colour="hurt"),
        folded(
            "Every refused file",
            data_table("Quarantine", ["File", "Reason"], rows),
            note(f"{say_things(more, 'more file')} in quarantine.jsonl.") if more > 0 else None,
        ),
    )


def _notes(results: Mapping[str, Any]) -> Child:
    said = texts(results, "data", "notes")
    return part("Good to know", tag("ul", [tag("li", prose(one)) for one in said], class_="notes")) if said else None


def embeddings_section(results: Mapping[str, Any], album: Album) -> Section | None:
    """Whether the features are healthy, and the groups of look-alikes that they form."""
    arms = records(results, "embeddings", "arms")
    clusters = records(results, "embeddings", "clusters")
    sentence = words(results, "embeddings", "sentence")
    if not (arms or clusters or sentence):
        return None
    return section(
        "embeddings",
        "Embeddings",
        "How it sees the images",
        prose(sentence),
        _health(arms),
        _clusters(clusters, album),
    )


def _health(arms: list[Mapping[str, Any]]) -> Child:
    if not arms:
        return None
    rows = []
    for arm in arms:
        rank, dimensions = number(arm, "effective_rank"), number(arm, "dimensions")
        used: Child = say_count(rank)
        if rank is not None and dimensions:
            told = f"{words(arm, 'title') or 'unnamed'}: {rank:.0f} of {dimensions:.0f} directions used"
            track = tag("span", bar_track(rank / dimensions, colour="generic", told=told), class_="track-cell")
            used = join(tag("span", f"{rank:.0f} of {dimensions:.0f}"), track)
        consistency, accuracy = number(arm, "knn_consistency"), number(arm, "knn_accuracy")
        rows.append([words(arm, "title") or "unnamed", used, say_percent(consistency), say_percent(accuracy)])
    columns = ["Features", "Directions used", "Finds its own other view", "Neighbours share the label"]
    return join(
        data_table("Health of the embeddings", columns, rows, numeric=(2, 3)),
        note("More directions in use means a richer description; very few is the sign of a collapse."),
    )


def _clusters(clusters: list[Mapping[str, Any]], album: Album) -> Child:
    if not clusters:
        return None
    totals: Counter[str] = Counter()
    for cluster in clusters:
        totals.update({name: int(count) for name, count in counts(cluster, "labels").items()})
    names = [name for name, _ in totals.most_common(len(_SHARES) - 1)]
    colours = dict(zip(names, _SHARES, strict=False))
    items = [_cluster(index, cluster, colours, album) for index, cluster in enumerate(clusters[:16], start=1)]
    key = [(name, float(totals[name]), colours[name]) for name in names]
    rest = sum(totals.values()) - sum(totals[name] for name in names)
    key += [("other labels", float(rest), "trivial")] if rest > 0 else []
    return part(
        "Images that look alike to the model",
        _key(key, float(sum(totals.values()))) if key else None,
        tag("ol", items, class_="clusters"),
        note("An image alone in its cluster is like none of the others.")
        if any(number(cluster, "size") == 1 for cluster in clusters)
        else None,
    )


def _cluster(index: int, cluster: Mapping[str, Any], colours: Mapping[str, str], album: Album) -> Markup:
    labels = counts(cluster, "labels")
    parts = [(name, labels[name], colour) for name, colour in colours.items() if labels.get(name)]
    rest = sum(count for name, count in labels.items() if name not in colours)
    parts += [("other labels", rest, "trivial")] if rest > 0 else []
    told = ", ".join(f"{name} {say_count(count)}" for name, count, _ in parts)
    pictures = [
        show(album, one, f"Image {place} of cluster {index}")
        for place, one in enumerate(elements(cluster, "pictures")[:6], start=1)
    ]
    size = number(cluster, "size")
    head = tag(
        "p", tag("b", f"Cluster {index}"), tag("span", say_things(size, "image"), class_="quiet") if size else None
    )
    bar = stacked_bar(parts, description=f"Labels in cluster {index}: {told}") if parts else None
    return tag("li", head, bar, tag("div", pictures, class_="strip"))
