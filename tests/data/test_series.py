"""Which pictures belong together: masks are found wherever people keep them, frames by their numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from beholder.data.series import class_series, find_mask_files, frame_series, without_masks

BLANK = np.zeros((12, 10, 3), np.uint8)


def save(path: Path, pixels: np.ndarray = BLANK) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def test_a_table_tells_which_mask_is_whose(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png"), save(tmp_path / "other" / "x.png"), save(tmp_path / "images" / "b.png")
    row = {"file_name": "images/a.png", "mask_file_name": "other/x.png"}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row) + "\n")
    assert find_mask_files(tmp_path) == {"images/a.png": tmp_path / "other" / "x.png"}


def test_a_sibling_folder_has_masks_of_the_same_stem(tmp_path: Path) -> None:
    for name in ("one/a", "one/b", "two/a"):
        save(tmp_path / "images" / f"{name}.jpg"), save(tmp_path / "masks" / f"{name}.png")
    found = find_mask_files(tmp_path)
    assert {key: path.relative_to(tmp_path).as_posix() for key, path in found.items()} == {
        f"images/{name}.jpg": f"masks/{name}.png" for name in ("one/a", "one/b", "two/a")
    }


def test_a_mask_beside_its_picture_is_found_and_is_no_picture(tmp_path: Path) -> None:
    for name in ("a.png", "a_mask.png", "b.png", "c_mask.png"):
        save(tmp_path / name)
    masks = find_mask_files(tmp_path)
    assert masks == {"a.png": tmp_path / "a_mask.png"}
    keys = ["a.png", "a_mask.png", "b.png", "c_mask.png"]
    assert [keys[place] for place in without_masks(keys, masks, tmp_path)] == ["a.png", "b.png", "c_mask.png"]


def test_frames_are_in_order_of_their_numbers_and_gaps_part_them() -> None:
    keys = ["v/f10.png", "v/f9.png", "v/f11.png", "v/f8.png", "v/f40.png", "v/f41.png", "v/f42.png", "w/f1.png"]
    found = [[keys[place] for place in series] for series in frame_series(keys, 3)]
    assert found == [["v/f8.png", "v/f9.png", "v/f10.png", "v/f11.png"], ["v/f40.png", "v/f41.png", "v/f42.png"]]


def test_classes_that_are_too_small_are_no_series() -> None:
    found = class_series(["a", "b", None, "a", "b", "a"], 3)
    assert [places.tolist() for places in found] == [[0, 3, 5]]
