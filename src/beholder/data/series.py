"""What pictures of a folder have to do with each other: masks that belong to them, and which follow each other."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from beholder.data.foreign import MASK_FOLDERS, find_masks
from beholder.data.listing import list_files
from beholder.data.records import SPLITS
from beholder.data.tables import TABLE_EXTENSIONS, cell_text, read_table

_MASK_COLUMNS = ("mask_file_name", "mask", "mask_path", "mask_file", "segmentation")
_FILE_COLUMNS = ("file_name", "filename", "path", "file", "image")
_MARK = re.compile(r"[_-](mask|gt|seg|label)$")
_IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "jpegimages"})
_NUMBER = re.compile(r"(\d+)(?!.*\d)")


def find_mask_files(data: Path) -> dict[str, Path]:
    """The mask of each picture that has one, by the picture's key.

    Looked for in this order: a column of a table that names it (`mask_file_name`), a file of the same stem in a folder
    of masks, a file `x_mask.png` beside `x.png`. `data`: a folder; of a table only the column counts.
    """
    if not data.is_dir():
        if not data.is_file() or data.suffix.lower() not in TABLE_EXTENSIONS:
            return {}
        return {key: data.parent / mask for key, mask in _in_table(data).items() if (data.parent / mask).is_file()}
    listing = list_files(data)
    inside = find_masks(listing)[0]
    owners = _owners(inside, listing.images.keys() - inside)
    found = _beside(listing.images) | {key: listing.images[mask] for key, mask in owners.items()}
    for key, path in listing.others.items():
        if path.suffix.lower() in TABLE_EXTENSIONS:
            base, images = PurePosixPath(key).parent, listing.images
            rows = ((str(base / own), str(base / mask)) for own, mask in _in_table(path).items())
            found |= {own: images[mask] for own, mask in rows if own in images and mask in images}
    return found


def without_masks(keys: Sequence[str], masks: Mapping[str, Path], data: Path) -> list[int]:
    """Places of the keys that are no mask of another."""
    paths, folder = {path.resolve() for path in masks.values()}, data if data.is_dir() else data.parent
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


def _in_table(path: Path) -> dict[str, str]:
    """Masks by their pictures, as a table names them; nothing where it names none, or cannot be read."""
    try:
        table = read_table(path)
    except ValueError:  # whoever needs this table tells what is wrong with it
        return {}
    file, mask = table.find(_FILE_COLUMNS), table.find(_MASK_COLUMNS)
    if file is None or mask is None:
        return {}
    rows = ((cell_text(row.get(file)), cell_text(row.get(mask))) for row in table.rows)
    return {own: named for own, named in rows if own and named}


def _stem(key: str) -> str:
    return _MARK.sub("", PurePosixPath(key).stem.lower())


def _owners(masks: Collection[str], keys: Collection[str]) -> dict[str, str]:
    """The mask in a folder of masks that belongs to a picture: of the same stem, in folders that do not contradict the
    picture's (`ground_truth/crack/000_mask.png` is of `test/crack/000.png`, and never of `train/good/000.png`), and of
    several the one that shares most of them, and of equals the first. A mask that fits several pictures equally well is
    of none."""
    by_stem: dict[str, tuple[list[str], list[str]]] = {}
    for place, names in enumerate((masks, keys)):
        for name in sorted(names):
            by_stem.setdefault(_stem(name), ([], []))[place].append(name)
    owners = {}
    for some, others in by_stem.values():
        fit = {(mask, key): _fit(mask, key) for mask in some for key in others}
        of_mask = {mask: _best({key: fit[mask, key] for key in others}) for mask in some}
        of_key = {key: _best({mask: fit[mask, key] for mask in some}) for key in others}
        owners |= {key: best[0] for key, best in of_key.items() if best and of_mask[best[0]] == [key]}
    return owners


def _best(fit: Mapping[str, tuple[bool, int] | None]) -> list[str]:
    """Those that fit best."""
    known = {name: value for name, value in fit.items() if value is not None}
    return [name for name, value in known.items() if value == max(known.values())]


def _fit(mask: str, key: str) -> tuple[bool, int] | None:
    """How well a mask's folders go with a picture's; None where they contradict each other."""
    ours, theirs = (set(PurePosixPath(name.lower()).parts[:-1]) for name in (mask, key))
    told, named = (part - MASK_FOLDERS - SPLITS.keys() - _IMAGE_FOLDERS for part in (ours, theirs))
    splits = [{SPLITS[name] for name in part & SPLITS.keys()} for part in (ours, theirs)]
    if not (told <= named or named <= told) or (all(splits) and splits[0] != splits[1]):
        return None
    return told == named, len(ours & theirs)
