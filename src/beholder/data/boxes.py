"""Boxes in images, and those that a detector of the user's found: COCO's json, or a table whose rows have `objects`, as
the Hugging Face hub has them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import numpy as np

from beholder.data.tables import TABLE_EXTENSIONS, read_table
from beholder.types import UserError


@dataclass(frozen=True)
class Box:
    """Edges, as shares of the image's width and height."""

    left: float
    top: float
    right: float
    bottom: float

    def pixels(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in an image of that size, at least one pixel apart."""
        left, top = min(int(self.left * width), width - 1), min(int(self.top * height), height - 1)
        return left, top, max(left + 1, round(self.right * width)), max(top + 1, round(self.bottom * height))

    def crop(self, image: np.ndarray) -> np.ndarray:
        """What it shows of an image, H W 3."""
        left, top, right, bottom = self.pixels(*image.shape[:2])
        return image[top:bottom, left:right]


@dataclass(frozen=True)
class GivenBox:
    """In pixels of its image."""

    left: float
    top: float
    width: float
    height: float
    name: str | None = None
    probability: float | None = None

    def within(self, height: int, width: int) -> Box:
        """As shares of an image of that size; what lies outside is cut off."""
        edges = (self.left / width, self.top / height, (self.left + self.width) / width,
                 (self.top + self.height) / height)  # fmt: skip
        return Box(*(min(1.0, max(0.0, edge)) for edge in edges))

    def is_within(self, height: int, width: int) -> bool:
        """Whether it shows anything of an image of that size."""
        return self.left < width and self.top < height and self.left + self.width > 0 and self.top + self.height > 0


def boxes_of(given: Mapping[str, list[GivenBox]], key: str) -> list[GivenBox]:
    """Those of the image at `key`: given for a file of that name, and where several of that name are in other folders,
    for the one whose folders are most alike from the end. Raises UserError where there is none, and for several."""
    own = PurePath(key).parts
    alike = {
        file: sum(1 for _ in takewhile(bool, (a == b for a, b in zip(reversed(own), reversed(parts), strict=False))))
        for file in given
        if (parts := PurePosixPath(file).parts) and parts[-1] == own[-1]
    }
    best = [file for file, count in alike.items() if count == max(alike.values())]
    if not best:
        raise UserError(f"no boxes were given for {own[-1]}")
    if len(best) > 1:
        raise UserError(f"boxes were given for {' and '.join(best)}, and it may be either")
    return given[best[0]]


def read_boxes(path: Path) -> dict[str, list[GivenBox]]:
    """Boxes by the image's file, as it is named there. Raises UserError for what is no such file, and for a box that is
    none."""
    if not path.is_file():
        raise UserError(f"--boxes {path}: no such file; name COCO's json, or a table with file_name and objects.")
    found = _of_coco(path) if path.suffix.lower() == ".json" else _of_table(path)
    boxes: dict[str, list[GivenBox]] = {}
    for where, file, listed in found:
        own = boxes.setdefault(str(PurePosixPath(file.replace("\\", "/"))), [])
        own += [_checked(where, *one) for one in listed]
    if not any(boxes.values()):
        raise UserError(f"--boxes {path} holds no box; give bbox: left, top, width and height in pixels.")
    return boxes


_Listed = tuple[str, str, list[tuple[Any, Any, Any]]]
"""Where it stands, the file, and of each box its numbers, name and score."""


def _of_coco(path: Path) -> Iterator[_Listed]:
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"--boxes {path} cannot be read as json ({str(error).splitlines()[0]}); save it again."
        ) from error
    if not isinstance(told, Mapping) or not all(isinstance(told.get(key), list) for key in ("images", "annotations")):
        raise UserError(f"--boxes {path} has no lists images and annotations; give COCO's json, or a table.")
    files = {one.get("id"): str(one.get("file_name")) for one in told["images"] if isinstance(one, Mapping)}
    names = {one.get("id"): one.get("name") for one in told.get("categories") or [] if isinstance(one, Mapping)}
    for number, one in enumerate(told["annotations"], start=1):
        where = f"--boxes {path}, annotation {number}"
        if not isinstance(one, Mapping) or one.get("image_id") not in files:
            raise UserError(f"{where} is of an image that is not in images; mend or remove it.")
        yield where, files[one["image_id"]], [(one.get("bbox"), names.get(one.get("category_id")), one.get("score"))]
    for file in files.values():
        yield str(path), file, []


def _of_table(path: Path) -> Iterator[_Listed]:
    if path.suffix.lower() not in TABLE_EXTENSIONS:
        raise UserError(f"--boxes {path} is no table; give COCO's json, or a table with file_name and objects.")
    table = read_table(path)
    file, objects = table.find(("file_name", "path", "image")), table.find(("objects",))
    if file is None or objects is None:
        raise UserError(f"--boxes {path} has the columns {', '.join(table.columns)}; it needs file_name and objects.")
    for index, row in enumerate(table.rows):
        where, told = f"--boxes {table.where(index)}", row.get(objects)
        boxes = told.get("bbox") if isinstance(told, Mapping) else None
        if not isinstance(boxes, list):
            raise UserError(f"{where} has no objects with bbox; give left, top, width and height of each.")
        assert isinstance(told, Mapping)
        names, scores = (_beside(told, keys, len(boxes)) for keys in (("category", "categories", "label"), ("score",)))
        yield where, str(row.get(file)), list(zip(boxes, names, scores, strict=True))


def _beside(told: Mapping[str, Any], keys: Sequence[str], count: int) -> list[Any]:
    listed = next((told[key] for key in keys if isinstance(told.get(key), list)), [])
    return [*listed[:count], *[None] * (count - len(listed))]


def _checked(where: str, numbers: Any, name: Any, score: Any) -> GivenBox:
    try:
        left, top, width, height = (float(number) for number in numbers)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: bbox={numbers!r} is no list of left, top, width and height.") from error
    if not (width > 0 and height > 0 and np.isfinite([left, top, width, height]).all()):
        raise UserError(f"{where}: bbox={numbers!r} has no area; give left, top, width and height in pixels.")
    given = isinstance(score, int | float) and not isinstance(score, bool)
    return GivenBox(left, top, width, height, None if name is None else str(name), float(score) if given else None)
