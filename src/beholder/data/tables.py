"""CSV, TSV, JSON lines and parquet files as rows of named cells."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beholder.data.decode import image_extensions
from beholder.types import UserError

TABLE_EXTENSIONS = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})


@dataclass(frozen=True)
class Table:
    """Rows as dictionaries of cells; a missing cell is None."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]

    def find(self, names: Sequence[str]) -> str | None:
        """The first column with one of `names`, whatever its case, in the order of `names`."""
        by_name = {column.strip().lower(): column for column in reversed(self.columns)}
        return next((by_name[name] for name in names if name in by_name), None)

    def where(self, row: int) -> str:
        """How to tell the user about a row, counted from 1 without the header."""
        return f"row {row + 1} of {self.path.name}"


def read_table(path: Path) -> Table:
    """Read the file by its extension; raises UserError in one sentence when it cannot be read as such a table."""
    try:
        if path.suffix.lower() == ".parquet":
            return _read_parquet(path)
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it again as UTF-8.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({(error.strerror or str(error)).lower()}).") from None
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return _read_json_lines(path, text)
    return _read_csv(path, text)


def cell_text(value: Any) -> str | None:
    """The cell as text without surrounding space; None when it is empty or missing. 3.0 reads "3"."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list | tuple):
        return cell_text(value[0]) if value else None
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value).strip() or None


def _read_csv(path: Path, text: str) -> Table:
    header = text.partition("\n")[0]
    # csv.Sniffer takes letters of the names for delimiters; the header splits best at the true one.
    delimiter = max(",;\t", key=lambda mark: len(next(csv.reader([header], delimiter=mark), [])))
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        lines = [cells for cells in reader if any(cells)]
    except csv.Error as error:
        raise UserError(
            f"{path} is not a readable CSV file ({error}); look for a quotation mark without its second."
        ) from None
    if not lines:
        raise UserError(f"{path} is empty; it needs a header line and one line per image.")
    columns = tuple(name.strip() for name in lines[0])
    _check_columns(path, columns)
    longer = next((row for row, cells in enumerate(lines[1:], 1) if any(cells[len(columns) :])), None)
    if longer is not None:
        raise UserError(
            f"{path}, row {longer} has {len(lines[longer])} cells and the header {len(columns)}; put a text with "
            f"{delimiter!r} in it into quotation marks."
        )
    rows = tuple(dict(zip(columns, cells + [None] * (len(columns) - len(cells)), strict=False)) for cells in lines[1:])
    return Table(path, columns, rows)


def _check_columns(path: Path, columns: tuple[str, ...]) -> None:
    for name in columns:
        first_word = name.split()[0].lower() if name.split() else ""
        if Path(first_word).suffix in image_extensions():
            raise UserError(
                f"{path} begins with {name!r}, not with column names; give it a header line such as file_name,label."
            )
    double = [name for name in columns if name and columns.count(name) > 1]
    if double:
        raise UserError(f"{path} has two columns named {double[0]!r}; rename one.")


def _read_json_lines(path: Path, text: str) -> Table:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise UserError(f'{path}, line {number}: each line must be one JSON object, such as {{"file_name": ...}}.')
        rows.append(row)
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    return Table(path, columns, tuple(rows))


def _read_parquet(path: Path) -> Table:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(f"{path}: reading parquet needs pyarrow; pip install 'beholder[tables]'.") from None
    try:
        content = pyarrow.parquet.ParquetFile(path).read()
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0][:120].rstrip(".")
        raise UserError(f"{path} is not a readable parquet file ({reason}).") from None
    rows = content.to_pylist()
    for column, names in _class_names(content.schema.metadata or {}).items():
        for row in rows:
            index = row.get(column)
            if isinstance(index, int) and 0 <= index < len(names):
                row[column] = names[index]
            elif index == -1:  # Hugging Face's mark of a hidden label
                row[column] = None
    return Table(path, tuple(content.column_names), tuple(rows))


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Names of the classes that Hugging Face datasets stores as numbers."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {column: value["names"] for column, value in features.items() if value.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
