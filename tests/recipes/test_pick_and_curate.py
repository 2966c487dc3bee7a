"""`pick` and `curate` as a user meets them: the lists they write, and that nothing of the user's is overwritten."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from bundles import random_bundle
from pictures import draw, write_classes
from PIL import Image

import beholder
from beholder.cli.main import main
from beholder.data.sources import read_source
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


def test_what_is_kept_is_read_back_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = write_classes(tmp_path / "here" / "photos", 12)
    (photos / "along" / "words.jpg").write_text("not a picture")
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    first = beholder.curate("photos", out="../there/clean", labels="auto", threads=1)
    monkeypatch.chdir(tmp_path / "there")
    again = beholder.curate("clean/kept.csv", out="again", labels="auto", threads=1)
    assert again == {**first, "quarantined": 0}
    assert again["kept"] == 12
    on_photos = beholder.curate("../here/photos", out="labelled", labels="clean/kept.csv", threads=1)
    assert on_photos == first
    assert (tmp_path / "there" / "again" / "kept.csv").read_text() == Path("clean/kept.csv").read_text()


def test_the_sources_own_split_travels_with_what_is_kept(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_classes(tmp_path / "photos" / part, 8, seed=len(part))
    first = read_source(tmp_path / "photos", labels="auto")
    beholder.curate(tmp_path / "photos", out=tmp_path / "clean", labels="auto", threads=1)
    again = read_source(tmp_path / "clean" / "kept.csv", labels="auto")
    assert sorted((one.label, one.split) for one in again.samples) == sorted((o.label, o.split) for o in first.samples)
    assert {one.split for one in again.samples} == {"train", "test"}


def test_a_table_of_picks_does_not_land_among_the_photos(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", 4)
    with pytest.raises(UserError, match="lies in"):
        beholder.pick(photos, count=2, out=photos / "todo.csv", threads=1)


def test_a_name_that_utf8_cannot_write_stops_nothing(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", 4)
    try:
        (photos / "along" / "0001.png").rename(os.fsdecode(os.fsencode(photos / "along") + b"/caf\xe9.png"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert beholder.curate(photos, out=tmp_path / "clean", threads=1)["kept"] == 4
    with (tmp_path / "clean" / "kept.csv").open() as handle:
        places = [row["path"] for row in csv.DictReader(handle)]
    assert [place for place in places if not Path(place).is_file()] == ["along/caf\\xe9.png"]


@pytest.mark.parametrize("out", ["photos", "photos/sub", "photos/across/../lists"])
def test_results_are_not_put_among_the_photos(tmp_path: Path, out: str) -> None:
    photos = write_classes(tmp_path / "photos", 4)
    before = sorted(photos.rglob("*"))
    with pytest.raises(UserError, match="choose a folder outside"):
        beholder.curate(photos, out=tmp_path / out, threads=1)
    with pytest.raises(UserError, match="choose a folder outside"):
        beholder.adapt(photos, out=tmp_path / out, budget="0", threads=1)
    assert sorted(photos.rglob("*")) == before


def test_broken_images_are_told_up_to_five_and_the_rest_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write_classes(tmp_path / "photos", 12)
    (photos / "across" / "twin.png").write_bytes((photos / "along" / "0001.png").read_bytes())
    for count, more in ((5, ""), (7, "Broken    and 2 more, see ")):
        for index in range(count):
            (photos / "across" / f"{index}.jpg").write_text("no picture")
        arguments = ["curate", str(photos), "--out", str(tmp_path / f"clean{count}"), "--threads", "1"]
        assert main([*arguments, "--labels", "auto"]) == 0
        told = capsys.readouterr().out
        assert [line[:26] for line in told.splitlines() if " more" in line] == [more] * bool(more)
        assert told.count("Broken ") == 5 + bool(more)
        assert f"13 kept, {count} quarantined, 1 duplicate group, 1 conflict, 0 outliers" in told


@pytest.mark.parametrize("verb", ["curate", "adapt", "pick", "doctor"])
@pytest.mark.parametrize("threads", ["0", "-1"])
def test_no_threads_at_all_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, threads: str
) -> None:
    photos = write_classes(tmp_path / "photos", 4)
    asked = [] if verb == "doctor" else [str(photos), "--out", str(tmp_path / "out")]
    asked += ["--count", "2"] if verb == "pick" else []
    assert main([verb, *asked, "--threads", threads]) == 2
    assert f"beholder: --threads {threads}: a number of threads lies between 1 and" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


class TestPickRefuses:
    def test_a_bad_model_before_the_folder_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        photos = write_classes(tmp_path / "photos", 4)
        monkeypatch.setattr("beholder.recipes.pick.read_source", lambda *_, **__: pytest.fail("the folder was read"))
        with pytest.raises(UserError, match="none does not exist; name a model folder"):
            beholder.pick(photos, count=2, out=tmp_path / "todo.csv", model=tmp_path / "none")

    def test_a_folder_whose_images_are_all_labelled(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        photos = write_classes(tmp_path / "photos", 4)
        arguments = ["pick", str(photos), "--count", "2", "--out", str(tmp_path / "todo.csv"), "--labels", "auto"]
        assert main(arguments) == 2
        assert "are labelled, or double a labelled one; there is nothing to pick." in capsys.readouterr().err
        assert not (tmp_path / "todo.csv").exists()


def test_larger_images_than_asked_for_are_not_picked(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", 4)
    Image.fromarray(draw(np.random.default_rng(0), 2, side=60)).save(photos / "large.png")
    random_bundle().save(tmp_path / "model")
    picked = beholder.pick(
        photos, count=5, out=tmp_path / "todo.csv", model=tmp_path / "model", threads=1, max_pixels=48 * 48
    )
    assert len(picked) == 4
    assert "large.png" not in picked


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
