"""Pictures beside answers: each has a file of its own, also where two images have one name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from beholder.recipes.rows_of_pictures import known_letters, titled, with_pictures
from beholder.types import Answer


def test_equal_names_are_numbered(tmp_path: Path) -> None:
    told = [Answer(key, "said") for key in ("a/x.jpg", "b/x.jpg", "c/y.jpg", "d/x.png")]
    drawn = ((one, np.zeros((4, 4, 3), np.uint8)) for one in told)
    assert list(with_pictures(drawn, tmp_path / "out", "--out")) == told
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"x.png", "x-2.png", "y.png", "x-3.png"}


def test_a_title_stands_above_and_changes_no_picture() -> None:
    sheet = np.random.default_rng(0).integers(0, 256, (40, 90, 3), np.uint8)
    told, blank = titled(sheet, "from nothing"), titled(sheet, "")
    height = len(told) - len(sheet)
    assert np.array_equal(told[height:], sheet) and told.shape[1:] == sheet.shape[1:]
    assert (blank[:height] == 255).all() and (told[:height] < 128).any()


@pytest.mark.parametrize(
    ("text", "told"),
    [("a grünes Café", "a grunes Cafe"), ("红 cat", "? cat"), ("it\u2019s", "it's")],
)
def test_letters_that_the_font_lacks_are_no_empty_boxes(text: str, told: str) -> None:
    assert known_letters(text) == told
