"""`pick` and `curate` as a user meets them: the lists they write, and that nothing of the user's is overwritten."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from pictures import write_classes

import beholder
from beholder.types import UserError


def test_curate_lists_what_is_broken_and_keeps_the_rest(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", 12)
    (photos / "along" / "words.jpg").write_text("not a picture")
    (photos / "along" / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    twin = photos / "along" / "0001.png"
    (photos / "across" / "twin.png").write_bytes(twin.read_bytes())
    counts = beholder.curate(photos, out=tmp_path / "clean", labels="auto", threads=1)
    assert counts == {"kept": 13, "quarantined": 2, "duplicate_groups": 1, "conflicts": 1, "outliers": 0}
    lines = (tmp_path / "clean" / "quarantine.jsonl").read_text().splitlines()
    assert {json.loads(line)["key"] for line in lines} == {"along/words.jpg", "along/dangling.png"}
    with (tmp_path / "clean" / "kept.csv").open() as handle:
        assert len(list(csv.DictReader(handle))) == 13


def test_a_filled_pick_is_taken_back_as_labels(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", 24)
    picked = beholder.pick(photos, count=12, out=tmp_path / "todo.csv")
    assert len(set(picked)) == 12
    filled = [(key, key.split("/")[0]) for key in picked]
    with (tmp_path / "todo.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("path", "label"), *filled])
    more = beholder.pick(photos, count=6, out=tmp_path / "more.csv", labels=tmp_path / "todo.csv")
    assert not set(more) & set(picked)
    results = beholder.adapt(
        photos, out=tmp_path / "run", labels=tmp_path / "todo.csv", budget="0", threads=1, resolutions=(64,)
    )
    assert results["data"]["num_labelled"] == 12


def test_a_table_that_may_hold_labels_is_not_overwritten(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", 4)
    (tmp_path / "todo.csv").write_text("path,label\n")
    with pytest.raises(UserError, match="may hold labels"):
        beholder.pick(photos, count=2, out=tmp_path / "todo.csv")
