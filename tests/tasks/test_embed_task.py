"""What may be given as an image: the same picture in any form gives the same pixels, and what is none is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import CPU, random_bundle
from pictures import draw, write_classes
from PIL import Image

from beholder.data.decode import Limits
from beholder.pretrained.bundle import Bundle
from beholder.tasks.embed import Embedded, each, embed
from beholder.types import UserError


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return random_bundle()


def see(bundle: Bundle, image: Any, limits: Limits | None = None) -> Embedded:
    (seen,) = embed(bundle, each(image), CPU, limits)
    return seen


GREY = draw(np.random.default_rng(0), 0)[..., 0]


@pytest.mark.parametrize(
    "form",
    [
        lambda grey: grey,
        lambda grey: grey[..., None],
        lambda grey: np.repeat(grey[..., None], 3, axis=2),
        lambda grey: np.dstack([grey, grey, grey, np.full_like(grey, 255)]),
        lambda grey: np.asfortranarray(grey),
        lambda grey: [grey],
        lambda grey: Image.fromarray(grey),
        lambda grey: Image.fromarray(grey).convert("P"),
    ],
    ids=["H W", "H W 1", "H W 3", "H W 4", "another order in memory", "a list", "Pillow, grey", "Pillow, palette"],
)
def test_one_picture_in_many_forms_is_one_picture(bundle: Bundle, form: Callable[[np.ndarray], Any]) -> None:
    seen = see(bundle, form(GREY))
    assert (seen.key, seen.refused) == ("image 1", None)
    assert seen.image is not None
    np.testing.assert_array_equal(seen.image, np.repeat(GREY[..., None], 3, axis=2))


def test_what_is_transparent_lies_on_white(bundle: Bundle) -> None:
    seen = see(bundle, np.zeros((8, 8, 4), np.uint8))
    assert seen.image is not None
    assert (seen.image == 255).all()


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((8, 8, 3)), "image 2 is an array of 8 x 8 x 3 float64 values"),
        (np.zeros((8, 8, 3), np.int64), "image 2 is an array of 8 x 8 x 3 int64 values"),
        (np.zeros((3, 8, 8), np.uint8), "image 2 is an array of 3 x 8 x 8 uint8 values"),
        (np.zeros((1, 8, 8, 3), np.uint8), "image 2 is an array of 1 x 8 x 8 x 3 uint8 values"),
        (np.zeros(8, np.uint8), "image 2 is an array of 8 uint8 values"),
        (np.zeros((), np.uint8), "image 2 is an array of no uint8 values"),
    ],
)
def test_an_array_that_is_no_image_is_told_with_what_it_is(bundle: Bundle, array: np.ndarray, told: str) -> None:
    with pytest.raises(UserError, match=f"{told}; an image has bytes"):
        list(embed(bundle, iter([GREY, array]), CPU))


@pytest.mark.parametrize("value", [5, None, b"bytes", torch.zeros(3, 8, 8)])
def test_what_is_nothing_like_an_image_is_told_with_its_type(bundle: Bundle, value: Any) -> None:
    with pytest.raises(UserError, match=f"image 1 is of type {type(value).__name__}; give a file, a folder"):
        list(embed(bundle, iter([value]), CPU))


def test_pictures_in_memory_are_held_to_the_limits_too(bundle: Bundle, tmp_path: Path) -> None:
    for small in (np.zeros((0, 9, 3), np.uint8), np.zeros((3, 9), np.uint8), Image.new("L", (9, 1))):
        assert "the shorter side must have at least 4" in str(see(bundle, small).refused)
    assert "the limit is 80" in str(see(bundle, np.zeros((9, 9), np.uint8), Limits(max_pixels=80)).refused)
    Image.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:-500])
    with Image.open(tmp_path / "cut.png") as cut:
        assert see(bundle, cut).refused == "truncated"


def test_a_folder_stands_for_what_it_refuses_too(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", 2)
    (photos / "across" / "0001.png").symlink_to(tmp_path / "nowhere.png")
    (photos / "loop").symlink_to(photos)
    told = [(getattr(one, "key", None), getattr(one, "reason", None)) for one in each([photos])]
    assert told == [
        (str(photos / "across" / "0000.png"), None),
        (str(photos / "across" / "0001.png"), "dangling link"),
        (str(photos / "along" / "0001.png"), None),
        (str(photos / "loop"), "link loop"),
    ]


def test_a_table_that_names_an_image_twice_gives_one_answer(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", 2)
    rows = ["across/0000.png,a", "across/0000.png,b", "along/0001.png,a", "gone.png,a"]
    (photos / "metadata.csv").write_text("\n".join(["file_name,label", *rows]) + "\n")
    assert [Path(getattr(one, "key", "")).name for one in each(photos)] == ["0000.png", "0001.png", "gone.png"]


def test_an_empty_folder_is_refused_alone_and_passed_over_among_others(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", 1)
    (tmp_path / "empty").mkdir()
    told = [getattr(one, "reason", None) for one in each([tmp_path / "empty", photos])]
    assert "empty" in str(told[0]) and told[1:] == [None] * (len(told) - 1) and len(told) > 1
    with pytest.raises(UserError, match="empty"):
        list(each(tmp_path / "empty"))
