"""Which layout a folder of images has, told from the paths alone: labels and splits that folder names carry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from beholder.data.records import SPLITS

GOOD = "good"
"""MVTec's name for the normal class (Bergmann et al. 2019)."""


@dataclass(frozen=True)
class Layout:
    """What the folder names say."""

    name: str
    """Short, for machines and tests: "bare", "folder per class", "MVTec", ..."""
    title: str
    """For the user."""
    labels: dict[str, str]
    """By key; empty when the folders carry no labels."""
    splits: dict[str, str]
    normal_label: str | None = None


def detect_layout(keys: Iterable[str]) -> Layout:
    """The layout of images by their relative paths, none of which lies in a mask folder."""
    paths = {key: _inner(key) for key in keys}
    paths = _unwrap(paths)
    names = {parts[0] for parts in paths.values() if parts}
    split_names = {name for name in names if name.lower() in SPLITS}
    has_train = any(SPLITS[name.lower()] == "train" for name in split_names)
    is_split = names == split_names or (has_train and len(split_names) > 1)
    if split_names and is_split and not any(not parts for parts in paths.values()):
        return _split_layout(paths, split_names)
    labels = _class_folders(paths)
    if len(set(labels.values())) < 2:
        return Layout("bare", "bare folder", {}, {})
    return _named(labels, {}, "")


def _split_layout(paths: dict[str, tuple[str, ...]], split_names: set[str]) -> Layout:
    splits = {key: SPLITS[parts[0].lower()] for key, parts in paths.items() if parts[0] in split_names}
    labels: dict[str, str] = {}
    for name in split_names:
        labels |= _class_folders({key: parts[1:] for key, parts in paths.items() if parts[0] == name})
    said = " with " + "/".join(sorted(split_names, key=lambda name: (_ORDER.index(SPLITS[name.lower()]), name)))
    if len(set(labels.values())) < 2:
        return Layout("bare with splits", f"folder{said}", {}, splits)
    return _named(labels, splits, said)


_ORDER = ("train", "validation", "test")


def _named(labels: dict[str, str], splits: dict[str, str], said: str) -> Layout:
    classes = {label.lower(): label for label in labels.values()}
    trained = {labels[key].lower() for key, split in splits.items() if split == "train" and key in labels}
    if GOOD in classes and trained <= {GOOD}:
        return Layout("MVTec", f"MVTec-like good and defect folders{said}", labels, splits, classes[GOOD])
    name = "folder per class with splits" if splits else "folder per class"
    return Layout(name, f"folder per class{said}", labels, splits)


def _class_folders(paths: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """First folder of each image, provided that every image lies in a folder and that folder holds images directly."""
    if any(not parts for parts in paths.values()):
        return {}
    direct = {parts[0] for parts in paths.values() if len(parts) == 1}
    return {key: parts[0] for key, parts in paths.items() if parts[0] in direct}


def _unwrap(paths: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Without the folders that all images share (`images/`), unless its name is a split's."""
    while paths:
        names = {parts[0] if parts else None for parts in paths.values()}
        (name,) = names if len(names) == 1 else (None,)
        if name is None or name.lower() in SPLITS:
            break
        paths = {key: parts[1:] for key, parts in paths.items()}
    return paths


def _inner(key: str) -> tuple[str, ...]:
    return tuple(key.split("/")[:-1])
