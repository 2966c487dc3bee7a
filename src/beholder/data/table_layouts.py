"""Folders and files whose samples stand in tables: Hugging Face imagefolder, CSV, JSON lines and parquet."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from beholder.data.listing import Listing, Refused
from beholder.data.records import (
    SPLITS,
    Locator,
    Record,
    Roles,
    files_named_beside,
    find_roles,
    read_records,
    refuse_double,
    refuse_missing,
)
from beholder.data.tables import TABLE_EXTENSIONS, Table, read_table
from beholder.types import Sample, UserError

_METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


@dataclass(frozen=True)
class FoundTable:
    """A table that names or holds images, and the split that its place tells."""

    table: Table
    roles: Roles
    split: str | None


@dataclass
class TableSamples:
    """What tables say, collected row by row."""

    samples: dict[str, Sample] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    records: dict[str, Record] = field(default_factory=dict)
    num_rows: int = 0
    num_missing: int = 0
    tried: Path | None = None


def find_tables(listing: Listing, group: str | None) -> tuple[str, list[FoundTable], list[str]]:
    """Name of the layout, its tables (none: the folder names decide) and notes about tables that are not used."""
    notes: list[str] = []
    keys = _first_per_folder(listing)
    tables = [found for key in keys if (found := _usable(listing, key, group, notes, strict=True))]
    if tables:
        return "imagefolder", tables, notes
    top = [key for key in listing.others if _is_table(key) and key.count("/") <= 1]
    tables = [found for key in top if (found := _usable(listing, key, group, notes, strict=False))]
    if not tables:
        return "", [], notes
    return "parquet" if all(found.table.path.suffix == ".parquet" for found in tables) else "table", tables, notes


def read_table_file(path: Path, group: str | None) -> FoundTable:
    """The table that the user named in place of a folder; raises UserError when it has no column of images."""
    table = read_table(path)
    roles = find_roles(table, group)
    if roles is None:
        columns = ", ".join(table.columns)
        raise UserError(f"{path} has no column with image files (it has {columns}); name one file_name or path.")
    return FoundTable(table, roles, None)


def collect(listing: Listing, found: list[FoundTable]) -> TableSamples:
    """Samples of all rows whose image is there, in any order; raises UserError when most images are missing."""
    result = TableSamples()
    for item in found:
        locator = Locator(listing, item.table.path.parent)
        base = _relative(item.table.path, listing.folder)
        for index, record in enumerate(read_records(item.table, item.roles)):
            result.num_rows += 1
            _collect_row(result, record, item.split, locator, f"{base}#{index + 1}")
    if result.num_missing > result.num_rows / 2:
        raise UserError(
            f"{result.num_missing:,} of {result.num_rows:,} rows of {found[0].table.path} name no image that is there "
            f"(tried {result.tried}); paths must be relative to the table or the folder."
        )
    return result


def beside(found: list[FoundTable], listing: Listing) -> frozenset[str]:
    """Keys of pictures that the tables name in other columns (masks): no samples."""
    keys: set[str] = set()
    for item in found:
        locator = Locator(listing, item.table.path.parent)
        names = files_named_beside(item.table, item.roles)
        keys |= {key for name in names if (key := locator.find_listed(name)) is not None}
    return frozenset(keys)


def _collect_row(result: TableSamples, record: Record, split: str | None, locator: Locator, row_key: str) -> None:
    path: Path | None = None
    if record.data is not None:
        key = row_key
    else:
        listed = locator.find_listed(record.place) if record.place is not None else None
        outside = locator.find_file(record.place) if record.place is not None and listed is None else None
        if listed is None and outside is None:
            result.refused.append(refuse_missing(record))
            result.num_missing += 1
            if record.place is not None and result.tried is None:
                result.tried = locator.tried(record.place)
            return
        key = listed if listed is not None else str(record.place)
        path = locator.path_of(listed) if listed is not None else outside
    if key in result.records:
        result.refused.append(refuse_double(record, key, result.records[key]))
        return
    result.records[key] = record
    result.samples[key] = Sample(key, path, record.data, record.label, record.group, record.split or split, record.text)


def _usable(listing: Listing, key: str, group: str | None, notes: list[str], *, strict: bool) -> FoundTable | None:
    """The table when it speaks of images: `metadata.*` must have a path column, others must name files that exist."""
    path = listing.others[key]
    try:
        table = read_table(path)
    except UserError:
        if strict:
            raise
        notes.append(f"{key} is not readable as a table and is not used")
        return None
    roles = find_roles(table, None)
    if roles is None:
        if strict:
            notes.append(f"{key} has no column with image files (file_name, path, ...) and is not used")
        return None
    if not strict and not _names_images(listing, table, roles):
        return None
    if group is not None and group in table.columns:
        roles = find_roles(table, group)
        assert roles is not None
    return FoundTable(table, roles, _split_of(key))


def _names_images(listing: Listing, table: Table, roles: Roles) -> bool:
    locator = Locator(listing, table.path.parent)
    head = [record for _, record in zip(range(100), read_records(table, roles), strict=False)]
    there = sum(
        record.data is not None or (record.place is not None and locator.find_listed(record.place) is not None)
        for record in head
    )
    return there > len(head) / 2


def _first_per_folder(listing: Listing) -> list[str]:
    """One metadata file for the folder, or one for each split folder below it."""
    folders: dict[str, str] = {}
    for name in _METADATA:
        for key in listing.others:
            folder, _, file = key.rpartition("/")
            if file == name and "/" not in folder:
                folders.setdefault(folder, key)
    return [folders[""]] if "" in folders else sorted(folders.values())


def _split_of(key: str) -> str | None:
    """train/metadata.csv, train.csv and data/train-00000-of-00002.parquet are of the split "train"."""
    path = PurePosixPath(key)
    names = (path.parent.name.lower(), path.stem.lower().split("-")[0])
    return next((SPLITS[name] for name in names if name in SPLITS), None)


def _is_table(key: str) -> bool:
    return PurePosixPath(key).suffix.lower() in TABLE_EXTENSIONS


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
