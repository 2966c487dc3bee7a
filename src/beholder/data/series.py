"""What pictures of a folder have to do with each other: masks that belong to them, and which follow each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from beholder.data.foreign import find_masks
from beholder.data.listing import list_files
from beholder.data.tables import TABLE_EXTENSIONS, cell_text, read_table

_MASK_COLUMNS = ("mask_file_name", "mask", "mask_path", "mask_file", "segmentation")
_FILE_COLUMNS = ("file_name", "filename", "path", "file", "image")
_MARK = re.compile(r"[_-](mask|gt|seg|label)$")
_NUMBER = re.compile(r"(\d+)(?!.*\d)")


def find_mask_files(folder: Path) -> dict[str, Path]:
    """The mask of each picture that has one, by the picture's key.

    Looked for in this order: a column of a table that names it (`mask_file_name`), a file of the same stem in a folder
    of masks, a file `x_mask.png` beside `x.png`.
    """
    if not folder.is_dir():
        return {}
    listing = list_files(folder)
    found = _beside(listing.images)
    inside = find_masks(listing)[0]
    by_stem: dict[str, list[str]] = {}
    for key in sorted(inside):
        by_stem.setdefault(_stem(key), []).append(key)
    for key in listing.images.keys() - inside:
        candidates = by_stem.get(_stem(key), [])
        if candidates:  # of several, the one whose folders have most in common with the picture's
            found[key] = listing.images[max(candidates, key=lambda mask: _num_shared(mask, key))]
    for key, path in listing.others.items():
        if path.suffix.lower() in TABLE_EXTENSIONS:
            found |= _in_table(path, PurePosixPath(key).parent, listing.images)
    return found


def without_masks(keys: Sequence[str], masks: Mapping[str, Path], folder: Path) -> list[int]:
    """Places of the keys that are no mask of another."""
    paths = {path.resolve() for path in masks.values()}
    return [place for place, key in enumerate(keys) if (folder / key).resolve() not in paths]


def class_series(labels: Sequence[str | None], fewest: int) -> list[np.ndarray]:
    """Places of the pictures of each class that has at least so many."""
    names = sorted({label for label in labels if label is not None})
    members = [np.array([place for place, label in enumerate(labels) if label == name]) for name in names]
    return [places for places in members if len(places) >= fewest]


def frame_series(keys: Sequence[str], fewest: int) -> list[np.ndarray]:
    """Places of pictures whose names differ by a number only, in its order; each series without gaps, of at least so
    many. A gap is a step of more than twice the usual one."""
    named: dict[str, list[tuple[int, int]]] = {}
    for place, key in enumerate(keys):
        match = _NUMBER.search(key)
        if match:
            named.setdefault(key[: match.start()] + "#" + key[match.end() :], []).append((int(match[1]), place))
    series = []
    for _, members in sorted(named.items()):
        members.sort()
        numbers = np.array([number for number, _ in members])
        steps = np.diff(numbers)
        if not len(steps):
            continue
        breaks = np.flatnonzero((steps > 2 * np.median(steps)) | (steps == 0)) + 1
        runs = np.split(np.array([place for _, place in members]), breaks)
        series += [run for run in runs if len(run) >= fewest]
    return series


def _beside(images: Mapping[str, Path]) -> dict[str, Path]:
    found = {}
    plain = {str(PurePosixPath(key).with_suffix("")): key for key in images}
    for key, path in images.items():
        name = str(PurePosixPath(key).with_suffix(""))
        owner = plain.get(_MARK.sub("", name))
        if owner is not None and _MARK.search(name):
            found[owner] = path
    return found


def _in_table(path: Path, base: PurePosixPath, images: Mapping[str, Path]) -> dict[str, Path]:
    try:
        table = read_table(path)
    except ValueError:  # whoever needs this table tells what is wrong with it
        return {}
    file, mask = table.find(_FILE_COLUMNS), table.find(_MASK_COLUMNS)
    if file is None or mask is None:
        return {}
    found = {}
    for row in table.rows:
        key, named = (_key(base, cell_text(row.get(column))) for column in (file, mask))
        if key in images and named in images:
            found[key] = images[named]
    return found


def _key(base: PurePosixPath, cell: str | None) -> str:
    return str(base / (cell or "")) if cell else ""


def _stem(key: str) -> str:
    return _MARK.sub("", PurePosixPath(key).stem.lower())


def _num_shared(mask: str, key: str) -> int:
    return len(set(_folders(mask)) & set(_folders(key)))


def _folders(key: str) -> Iterable[str]:
    return PurePosixPath(key).parts[:-1]
