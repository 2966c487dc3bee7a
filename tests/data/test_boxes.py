"""Boxes of a detector: COCO's json and tables are read, whatever is no box is told with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beholder.data.boxes import Box, GivenBox, boxes_of, read_boxes
from beholder.types import UserError


def coco(path: Path, **changes: Any) -> Path:
    told = {
        "images": [{"id": 7, "file_name": "photos/a.png"}, {"id": 8, "file_name": "b.png"}],
        "annotations": [{"image_id": 7, "bbox": [2, 4, 10, 20], "category_id": 1, "score": 0.5}],
        "categories": [{"id": 1, "name": "crack"}],
    }
    path.write_text(json.dumps(told | changes))
    return path


def test_coco_and_a_table_say_the_same(tmp_path: Path) -> None:
    found = read_boxes(coco(tmp_path / "boxes.json"))
    assert found == {"photos/a.png": [GivenBox(2, 4, 10, 20, "crack", 0.5)], "b.png": []}
    table = tmp_path / "boxes.jsonl"
    rows = [
        {"file_name": "photos/a.png", "objects": {"bbox": [[2, 4, 10, 20]], "category": ["crack"], "score": [0.5]}},
        {"file_name": "b.png", "objects": {"bbox": []}},
    ]
    table.write_text("\n".join(map(json.dumps, rows)))
    assert read_boxes(table) == found


def test_a_box_cuts_its_part_out_of_an_image_of_any_size() -> None:
    image = np.zeros((40, 20, 3), np.uint8)
    image[4:24, 2:12] = 9
    box = GivenBox(2, 4, 10, 20).within(40, 20)
    assert box.pixels(40, 20) == (2, 4, 12, 24) and (box.crop(image) == 9).all()
    assert box.pixels(80, 40) == (4, 8, 24, 48)
    assert GivenBox(-5, 30, 100, 100).within(40, 20) == Box(0, 0.75, 1, 1)
    assert Box(0.999, 0.999, 1, 1).crop(image).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"annotations": [{"image_id": 9, "bbox": [1, 1, 2, 2]}]}, "annotation 1 is of an image that is not in images"),
        ({"annotations": [{"image_id": 7, "bbox": [1, 1, 0, 2]}]}, "has no area"),
        ({"annotations": [{"image_id": 7, "bbox": "all"}]}, "is no list of left, top, width and height"),
        ({"annotations": []}, "holds no box"),
        ({"images": None}, "no lists images and annotations"),
    ],
)
def test_what_is_no_box_is_told(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        read_boxes(coco(tmp_path / "boxes.json", **changes))


def test_files_that_hold_no_boxes_are_told(tmp_path: Path) -> None:
    for name, text, told in (
        ("x.json", "{", "cannot be read as json"),
        ("x.png", "", "is no table"),
        ("x.csv", "file_name,label\na.png,b", "it needs file_name and objects"),
        ("x.jsonl", '{"file_name": "a.png", "objects": 3}', "no objects with bbox"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=told):
            read_boxes(tmp_path / name)
    with pytest.raises(UserError, match="no such file"):
        read_boxes(tmp_path / "absent.json")


class TestWhoseTheyAre:
    ONE, OTHER = GivenBox(1, 1, 2, 2), GivenBox(3, 3, 2, 2)

    def test_the_file_is_found_by_its_name_in_whatever_folder(self) -> None:
        assert boxes_of({"train/a.png": [self.ONE], "b.png": []}, "/home/me/photos/a.png") == [self.ONE]
        assert boxes_of({"b.png": []}, "photos/b.png") == []

    def test_of_files_of_one_name_the_one_whose_folders_end_alike(self) -> None:
        given = {"left/a.png": [self.ONE], "right/a.png": [self.OTHER]}
        assert boxes_of(given, "photos/left/a.png") == [self.ONE]
        assert boxes_of(given, "photos/right/a.png") == [self.OTHER]
        with pytest.raises(UserError, match=r"left/a\.png and right/a\.png, and it may be either"):
            boxes_of(given, "a.png")

    def test_an_image_without_is_told(self) -> None:
        with pytest.raises(UserError, match=r"no boxes were given for c\.png"):
            boxes_of({"a.png": []}, "photos/c.png")

    def test_one_beside_its_image_is_seen(self) -> None:
        assert self.ONE.is_within(2, 2) and not self.OTHER.is_within(3, 3)
        assert not GivenBox(-5, 0, 5, 5).is_within(10, 10)
