"""`label`: classes for pictures, one key each, in a browser; the table is what `adapt --labels` reads.

beholder label photos/ --out todo.csv
"""

from __future__ import annotations

import csv
import io
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from beholder.data.decode import Limits, Unreadable, decode
from beholder.data.listing import list_files
from beholder.data.records import Locator
from beholder.data.sources import read_source
from beholder.data.tables import cell_text, read_table
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.load import load_own
from beholder.runtime.device import pick_device
from beholder.runtime.files import refuse_inside, told_kindly, write_text
from beholder.runtime.log import Log, counted
from beholder.serve.labelling import build_label_app
from beholder.serve.run import listen, run
from beholder.tasks.classify import classify
from beholder.types import Sample, UserError

_PATHS, _LABELS = ("file_name", "path", "image", "file"), ("label", "class")


@dataclass
class LabelTable:
    """Rows of pictures with labels, on disk after every change."""

    path: Path
    columns: tuple[str, ...]
    rows: list[dict[str, str]]
    keys: list[str]
    """Of the pictures, in the order of the rows."""
    path_column: str
    label_column: str
    _undone: list[tuple[int, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def label_of(self, place: int) -> str:
        return self.rows[place].get(self.label_column) or ""

    def put(self, place: int, label: str) -> None:
        """Empty: no label. Raises UserError where the file cannot be written; then nothing has changed."""
        with self._lock:
            before = self.label_of(place)
            self._write(place, label)
            self._undone.append((place, before))

    def undo(self) -> int | None:
        """Take the last change back; its row, None where there is none."""
        with self._lock:
            if not self._undone:
                return None
            place, before = self._undone[-1]
            self._write(place, before)
            self._undone.pop()
            return place

    def classes(self) -> list[str]:
        """In the order in which they come."""
        return list(dict.fromkeys(label for place in range(len(self.rows)) if (label := self.label_of(place))))

    def save(self) -> None:
        stream = io.StringIO()
        table = csv.DictWriter(stream, self.columns, lineterminator="\n", extrasaction="ignore")
        table.writeheader()
        table.writerows(self.rows)
        with told_kindly(self.path):
            write_text(self.path, stream.getvalue())

    def _write(self, place: int, label: str) -> None:
        before = self.rows[place]
        self.rows[place] = {**before, self.label_column: label}
        try:
            self.save()
        except BaseException:
            self.rows[place] = before
            raise


def label(
    photos: str | Path,
    *,
    out: str | Path,
    classes: Sequence[str] = (),
    model: str | Path | None = None,
    port: int = 8001,
    device: str = "auto",
    threads: int | None = None,
    log: Log | None = None,
) -> None:
    """Serve a page on which the pictures of a folder get classes, until the process is asked to stop. `out` is a CSV:
    one that `pick` wrote, or begun earlier, is filled on; else all pictures stand in a new one. It is saved after every
    key. `model` is one that adapt made, whose guess is shown on demand.

    Raises UserError for a table without a path column, and where nothing is to be labelled.
    """
    log, photos, out = log or Log(quiet=True), Path(photos), Path(out)
    with listen("127.0.0.1", port) as listener:  # before a table is begun: a refusal leaves nothing
        bundle = None if model is None else load_own(model)
        table, samples = open_table(photos, out, log)
        names = list(dict.fromkeys([*(name.strip() for name in classes if name.strip()), *table.classes()]))
        guess = None if bundle is None else _guesser(bundle, samples, device, threads)
        num_left = sum(not table.label_of(place) for place in range(len(table.rows)))
        log.stage("Table", f"{out}: {counted(len(table.rows), 'image')}, {num_left:,} without a label")
        number = listener.getsockname()[1]
        log.stage("Address", f"http://127.0.0.1:{number}")
        run(build_label_app(table, lambda place: _show(samples[place]), names, guess, number), listener)
    num_labelled = sum(bool(table.label_of(place)) for place in range(len(table.rows)))
    again = f"beholder label {photos} --out {out} goes on" if num_labelled < len(table.rows) else ""
    enough = f"beholder adapt {photos} --labels {out} --out runs/first" if num_labelled else ""
    log.stage("Next", f"{counted(num_labelled, 'label')}; " + "; ".join(filter(None, (again, enough))))


def open_table(photos: Path, out: Path, log: Log) -> tuple[LabelTable, list[Sample]]:
    """The table, and the picture of each row. Raises UserError for one that cannot be filled."""
    if out.suffix.lower() != ".csv":
        raise UserError(f"--out {out}: labels are written as CSV; end it in .csv.")
    source = read_source(photos)
    by_key = {sample.key: sample for sample in source.samples}
    if not out.exists():
        if photos.is_dir():
            refuse_inside(out, photos)
        keys = [key for key, sample in by_key.items() if sample.path is not None]
        where = [os.path.relpath(by_key[key].path or "", out.parent) for key in keys]
        rows = [{"file_name": place, "label": by_key[key].label or ""} for key, place in zip(keys, where, strict=True)]
        made = LabelTable(out, ("file_name", "label"), rows, keys, "file_name", "label")
        if not rows:
            raise UserError(f"{photos} has no image files to label; name a folder of images.")
        with told_kindly(out):
            out.parent.mkdir(parents=True, exist_ok=True)
        made.save()
        return made, [by_key[key] for key in keys]
    found = read_table(out)
    path_column, label_column = found.find(_PATHS), found.find(_LABELS)
    if path_column is None:
        raise UserError(f"--out {out} has no column with image files (it has {', '.join(found.columns)}); name one "
                        "file_name.")  # fmt: skip
    columns = found.columns if label_column else (*found.columns, "label")
    locator = Locator(list_files(photos) if photos.is_dir() else list_files(photos.parent), out.parent)
    rows, keys = [], []
    for index, row in enumerate(found.rows):
        place = cell_text(row.get(path_column))
        key = None if place is None else locator.find_listed(place)
        if key is None or key not in by_key:
            raise UserError(f"--out {out}: {found.where(index)} names {place}, which is no image of {photos}; mend it.")
        rows.append({name: cell_text(row.get(name)) or "" for name in columns})
        keys.append(key)
    if not rows:
        raise UserError(f"--out {out} has no rows; delete it, or let pick write one.")
    made = LabelTable(out, columns, rows, keys, path_column, label_column or "label")
    return made, [by_key[key] for key in keys]


def _show(sample: Sample) -> np.ndarray | str:
    """The picture, or why there is none."""
    try:
        return decode(sample, Limits())
    except Unreadable as error:
        return error.reason


def _guesser(
    bundle: Bundle, samples: Sequence[Sample], device: str, threads: int | None
) -> Callable[[int], dict[str, float]]:
    if bundle.model.head is None:
        raise UserError("--model: this model was made without labels, so it has no guess; leave it out.")
    picked = pick_device(device, threads)

    def guess(place: int) -> dict[str, float]:
        (answer,) = classify(bundle, [samples[place]], picked)
        return dict(answer.details.get("probabilities", {}))

    return guess
