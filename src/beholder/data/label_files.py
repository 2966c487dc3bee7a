"""Labels, groups and splits from a table of the user's, put onto samples that a folder gave."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from beholder.data.listing import Listing, Refused
from beholder.data.records import Locator, Record, find_roles, read_records, refuse_double, refuse_missing
from beholder.data.tables import TABLE_EXTENSIONS, Table, read_table
from beholder.types import Sample, UserError


@dataclass(frozen=True)
class LabelFile:
    """A table with a path column and a label column."""

    table: Table

    def has_column(self, name: str) -> bool:
        return name in self.table.columns


def open_labels(path: Path) -> LabelFile:
    """Raises UserError when the file is missing or no table."""
    if not path.is_file():
        raise UserError(f"--labels {path}: no such file; name a CSV, TSV, JSON-lines or parquet file, or auto.")
    if path.suffix.lower() not in TABLE_EXTENSIONS:
        raise UserError(f"--labels {path}: not a table; name a .csv, .tsv, .jsonl or .parquet file, or auto.")
    return LabelFile(read_table(path))


def put_labels(
    samples: dict[str, Sample], listing: Listing, labels: LabelFile, group: str | None
) -> tuple[dict[str, Sample], list[Refused]]:
    """The samples with the labels (and groups, splits, texts) of their rows, and the rows that are of no use.

    Samples without a row, or with an empty label, are unlabelled. Raises UserError when there is no path or label
    column, when more than half of the rows name no image, or when no image gets a label.
    """
    table = labels.table
    columns = ", ".join(table.columns)
    roles = find_roles(table, group, is_label_file=True)
    if roles is None:
        raise UserError(f"{table.path} has no column with image files (it has {columns}); name one file_name or path.")
    if roles.label is None:
        raise UserError(f"{table.path} has no label column (it has {columns}); name one label or class.")
    locator, rows, refused, missing = Locator(listing, table.path.parent), dict[str, Record](), list[Refused](), 0
    example: Path | None = None
    for record in read_records(table, roles):
        key = locator.find_listed(record.place) if record.place is not None else None
        if key is None or key not in samples:
            refused.append(refuse_missing(record))
            missing += 1
            if example is None and record.place is not None:
                example = locator.tried(record.place)
        elif key in rows:
            refused.append(refuse_double(record, key, rows[key]))
        else:
            rows[key] = record
    if missing > len(table.rows) / 2:
        raise UserError(
            f"{missing:,} of {len(table.rows):,} rows of {table.path} name no image of {listing.folder} "
            f"(tried {example}); paths must be relative to that folder or to the table."
        )
    if not any(record.label is not None for record in rows.values()):
        raise UserError(f"{table.path} gives none of the images a label; fill its column {roles.label}.")
    return {key: _with(sample, rows.get(key), group is not None) for key, sample in samples.items()}, refused


def _with(sample: Sample, record: Record | None, is_grouped: bool) -> Sample:
    if record is None:
        return replace(sample, label=None)
    return replace(
        sample,
        label=record.label,
        group=record.group if is_grouped else sample.group,
        split=record.split or sample.split,
        text=record.text or sample.text,
    )
