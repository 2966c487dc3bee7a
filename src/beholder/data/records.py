"""Rows of a table that speak of images: which file, which label, which split, which group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from beholder.data.decode import image_extensions
from beholder.data.listing import Listing, Refused
from beholder.data.tables import Table, cell_text
from beholder.types import UserError

PATH_COLUMNS = ("file_name", "path", "image", "image_path", "filepath", "filename", "file", "img")
LABEL_COLUMNS = ("label", "class", "category", "target", "defect")
SPLIT_COLUMNS = ("split",)
TEXT_COLUMNS = ("text", "caption", "captions")
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Roles:
    """Which column says what."""

    path: str
    label: str | None
    split: str | None
    text: str | None
    group: str | None


@dataclass(frozen=True)
class Record:
    """One row about one image."""

    where: str
    """For the user: "row 3 of labels.csv"."""
    place: str | None
    """The image's path as the table has it."""
    data: bytes | None
    label: str | None
    split: str | None
    text: str | None
    group: str | None


def find_roles(table: Table, group: str | None, *, is_label_file: bool = False) -> Roles | None:
    """The columns' roles by their names, else by what they hold; None when no column names images.

    In a label file the only column without another role is the label, whatever its name. Raises UserError when
    `group` is no column.
    """
    path = table.find(PATH_COLUMNS) or _column_of_file_names(table)
    if path is None:
        return None
    if group is not None and group not in table.columns:
        raise UserError(f"--group {group}: {table.path.name} has no such column; it has {', '.join(table.columns)}.")
    split, text = table.find(SPLIT_COLUMNS), table.find(TEXT_COLUMNS)
    rest = [column for column in table.columns if column and column not in (path, split, text, group)]
    label = table.find(LABEL_COLUMNS) or (rest[0] if is_label_file and len(rest) == 1 else None)
    return Roles(path, None if label == path else label, split, text, group)


def read_records(table: Table, roles: Roles) -> Iterator[Record]:
    """One record per row, in the table's order."""
    for index, row in enumerate(table.rows):
        place, data = _place_and_bytes(row.get(roles.path))
        split = cell_text(row.get(roles.split)) if roles.split else None
        yield Record(
            where=table.where(index),
            place=place,
            data=data,
            label=cell_text(row.get(roles.label)) if roles.label else None,
            split=SPLITS.get(split.lower()) if split else None,
            text=cell_text(row.get(roles.text)) if roles.text else None,
            group=cell_text(row.get(roles.group)) if roles.group else None,
        )


def files_named_beside(table: Table, roles: Roles) -> frozenset[str]:
    """Image files that other columns name, such as `mask_file_name`: they are no samples."""
    return frozenset(
        str(PurePosixPath(value))
        for row in table.rows
        for column, value in row.items()
        if column != roles.path and isinstance(value, str) and _is_image_name(value)
    )


class Locator:
    """Finds the file that a table means by a path: relative to the photos, to the table, absolute, or a bare name."""

    def __init__(self, listing: Listing, table_folder: Path) -> None:
        self._listing = listing
        self._table_folder = table_folder
        self._key_of_path = {path: key for key, path in listing.images.items()}
        names = Counter(key.rpartition("/")[2] for key in listing.images)
        self._key_of_name = {
            key.rpartition("/")[2]: key for key in listing.images if names[key.rpartition("/")[2]] == 1
        }

    def find_listed(self, place: str) -> str | None:
        """The key of the listed image that `place` means."""
        for spelling in dict.fromkeys((place, place.replace("\\", "/"))):  # paths written on Windows
            plain = str(PurePosixPath(spelling))
            if plain in self._listing.images:
                return plain
            for candidate in (self._table_folder / spelling, self._listing.folder / spelling):
                if candidate in self._key_of_path:
                    return self._key_of_path[candidate]
            if "/" not in plain and plain in self._key_of_name:
                return self._key_of_name[plain]
        return self._find_resolved(place)

    def find_file(self, place: str) -> Path | None:
        """An image file outside the listing."""
        for spelling in dict.fromkeys((place, place.replace("\\", "/"))):
            for candidate in (self._table_folder / spelling, self._listing.folder / spelling):
                if _is_image_name(spelling) and _is_file(candidate):
                    return candidate
        return None

    def path_of(self, key: str) -> Path:
        return self._listing.images[key]

    def tried(self, place: str) -> Path:
        """For messages: where `place` was looked for."""
        return self._listing.folder / place

    def _find_resolved(self, place: str) -> str | None:
        """`../photos/a.png` and links: compare the real paths, which costs system calls and is tried last."""
        for candidate in (self._table_folder / place, self._listing.folder / place):
            if _is_file(candidate):
                resolved = candidate.resolve()
                for folder in (self._listing.folder, self._listing.folder.resolve()):
                    if resolved.is_relative_to(folder.resolve()):
                        key = resolved.relative_to(folder.resolve()).as_posix()
                        if key in self._listing.images:
                            return key
        return None


def refuse_double(record: Record, key: str, first: Record) -> Refused:
    """A second row about the same image; the first one counts."""
    if record.label != first.label:
        return Refused(
            key, f"{record.where} calls it {record.label!r}, {first.where} {first.label!r}; the first counts"
        )
    return Refused(key, f"{record.where} repeats {first.where}")


def refuse_missing(record: Record) -> Refused:
    """A row whose image is not there."""
    if record.place is None:
        return Refused(record.where, f"{record.where} names no file")
    return Refused(record.place, f"{record.where} names a file that is not there, or is no image")


def _place_and_bytes(value: Any) -> tuple[str | None, bytes | None]:
    if isinstance(value, bytes):
        return None, value
    if isinstance(value, dict):  # Hugging Face: {"bytes": ..., "path": ...}
        place, data = value.get("path"), value.get("bytes")
        return cell_text(place), data if isinstance(data, bytes) else None
    return cell_text(value), None


def _column_of_file_names(table: Table) -> str | None:
    head = table.rows[:100]
    for column in table.columns:
        named = sum(
            isinstance(row.get(column), bytes | dict) or _is_image_name(str(row.get(column) or "")) for row in head
        )
        if head and named > len(head) / 2:
            return column
    return None


def _is_image_name(text: str) -> bool:
    return "." in text and len(text) < 4096 and "." + text.rpartition(".")[2].lower() in image_extensions()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False
