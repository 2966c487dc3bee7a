"""Pictures beside answers: each has a file of its own, also where two images have one name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from beholder.recipes.rows_of_pictures import with_pictures
from beholder.types import Answer


def test_equal_names_are_numbered(tmp_path: Path) -> None:
    told = [Answer(key, "said") for key in ("a/x.jpg", "b/x.jpg", "c/y.jpg", "d/x.png")]
    drawn = ((one, np.zeros((4, 4, 3), np.uint8)) for one in told)
    assert list(with_pictures(drawn, tmp_path / "out", "--out")) == told
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"x.png", "x-2.png", "y.png", "x-3.png"}
