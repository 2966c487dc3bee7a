"""Which pictures belong together: masks are found wherever people keep them, frames by their numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
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


def test_a_mask_is_of_the_picture_whose_folders_agree(tmp_path: Path) -> None:
    for name in ("train/good/000.png", "test/good/000.png", "test/crack/000.png", "ground_truth/crack/000_mask.png"):
        save(tmp_path / "mvtec" / name)
    truth = tmp_path / "mvtec" / "ground_truth" / "crack" / "000_mask.png"
    assert find_mask_files(tmp_path / "mvtec") == {"test/crack/000.png": truth}
    for name in ("a/images/0.png", "b/images/0.png", "a/masks/0.png"):
        save(tmp_path / "two" / name)
    assert find_mask_files(tmp_path / "two") == {"a/images/0.png": tmp_path / "two" / "a" / "masks" / "0.png"}
    for name in ("train/images/0.png", "test/images/0.png", "train/masks/0.png"):
        save(tmp_path / "split" / name)
    assert list(find_mask_files(tmp_path / "split")) == ["train/images/0.png"]


def test_a_mask_that_fits_several_pictures_is_of_none(tmp_path: Path) -> None:
    for name in ("cat/0.png", "dog/0.png", "masks/0.png", "masks/1.png", "cat/1.png"):
        save(tmp_path / name)
    assert list(find_mask_files(tmp_path)) == ["cat/1.png"]


@pytest.mark.parametrize(
    ("names", "owned"),
    [
        (("images/A/1.png", "images/masks/1.png"), {"images/A/1.png": "images/masks/1.png"}),
        (("images/set/x.png", "masks/img/x.png"), {"images/set/x.png": "masks/img/x.png"}),
        (("train/images/1.png", "test/images/2.png", "test/masks/1.png", "test/masks/2.png"),
         {"test/images/2.png": "test/masks/2.png"}),
        (("images/x.png", "masks/x.png", "labels/x.png"), {"images/x.png": "labels/x.png"}),
    ],
)  # fmt: skip
def test_other_ways_to_lay_masks(tmp_path: Path, names: tuple[str, ...], owned: dict[str, str]) -> None:
    for name in names:
        save(tmp_path / name)
    assert find_mask_files(tmp_path) == {key: tmp_path / mask for key, mask in owned.items()}


def test_a_table_names_its_masks_as_its_folder_does(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "a_something.png"):
        save(tmp_path / name)
    (tmp_path / "metadata.csv").write_text("file_name,mask_file_name\na.png,a_something.png\nb.png,\n")
    found = find_mask_files(tmp_path / "metadata.csv")
    assert found == {"a.png": tmp_path / "a_something.png"} == find_mask_files(tmp_path)
    assert without_masks(["a.png", "b.png", "a_something.png"], found, tmp_path / "metadata.csv") == [0, 1]


def test_frames_are_in_order_of_their_numbers_and_gaps_part_them() -> None:
    keys = ["v/f10.png", "v/f9.png", "v/f11.png", "v/f8.png", "v/f40.png", "v/f41.png", "v/f42.png", "w/f1.png"]
    found = [[keys[place] for place in series] for series in frame_series(keys, 3)]
    assert found == [["v/f8.png", "v/f9.png", "v/f10.png", "v/f11.png"], ["v/f40.png", "v/f41.png", "v/f42.png"]]


def test_classes_that_are_too_small_are_no_series() -> None:
    found = class_series(["a", "b", None, "a", "b", "a"], 3)
    assert [places.tolist() for places in found] == [[0, 3, 5]]
