"""Curation sets aside what is broken, marks what is double, shows what is odd, and goes on where it was killed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

import beholder.data.survey as survey_module
from beholder.data.curate import Curation, curate, write_quarantine
from beholder.data.decode import Limits
from beholder.data.listing import Refused
from beholder.data.sources import read_source
from beholder.types import UserError


def blobs(seed: int, side: int = 96) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(30, 226, (9, 9, 3), dtype=np.uint8))
    return small.resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
    for index in range(40):
        blobs(index).save(folder / "ab"[index % 2] / f"{index:02d}.png")
    return folder


def spoil(photos: Path) -> None:
    whole = (photos / "a" / "00.png").read_bytes()
    (photos / "a" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (photos / "a" / "note.jpg").write_text("no picture\n")
    (photos / "a" / "empty.png").write_bytes(b"")
    (photos / "a" / "gone.png").symlink_to(photos / "nowhere.png")
    (photos / "b" / "twin.png").write_bytes(whole)  # the same picture as a/00, called b
    ImageEnhance.Brightness(blobs(1)).enhance(0.92).save(photos / "b" / "like.jpg", quality=70)
    Image.new("RGB", (96, 96), "black").save(photos / "b" / "black.png")


def run(photos: Path, folder: Path, **options) -> Curation:
    return curate(read_source(photos, labels="auto"), folder, num_workers=2, **options)


def test_every_planted_fault_is_found(photos, tmp_path):
    spoil(photos)
    found = run(photos, tmp_path / "work")
    assert {refused.key: refused.reason for refused in found.quarantine} == {
        "a/gone.png": "dangling link",
        "a/cut.png": "truncated",
        "a/note.jpg": "not an image (text file?)",
        "a/empty.png": "empty file",
    }
    assert [(group.kind, group.keys) for group in found.duplicates] == [
        ("exact", ("a/00.png", "b/twin.png")),
        ("near", ("b/01.png", "b/like.jpg")),
    ]
    assert [(conflict.keys, conflict.labels) for conflict in found.conflicts] == [
        (("a/00.png", "b/twin.png"), ("a", "b"))
    ]
    assert {(outlier.key, outlier.what) for outlier in found.outliers} >= {("b/black.png", "dark")}
    assert len(found.samples) == len(found.cluster) == 43 and len(set(found.cluster)) == 41
    lines = [json.loads(line) for line in (tmp_path / "work" / "quarantine.jsonl").read_text().splitlines()]
    assert {line["key"]: line["reason"] for line in lines} == {r.key: r.reason for r in found.quarantine}


def test_clean_pictures_pass_untouched(photos, tmp_path):
    found = run(photos, tmp_path / "work")
    assert len(found.samples) == 40 and len(set(found.cluster)) == 40
    assert found.quarantine == found.duplicates == found.conflicts == found.outliers == found.notes == ()
    assert (tmp_path / "work" / "quarantine.jsonl").read_text() == ""


def same(a: Curation, b: Curation) -> bool:
    names = ("cluster", "quality", "is_grey")
    arrays_agree = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)
    return arrays_agree and replace(a, **{name: getattr(b, name) for name in names}) == b


def test_a_killed_run_goes_on_with_the_same_result(photos, tmp_path, monkeypatch):
    spoil(photos)
    monkeypatch.setattr(survey_module, "SHARD_SIZE", 10)
    expected = run(photos, tmp_path / "uninterrupted")
    real, looked = survey_module.look, []

    def look(sample, limits):
        if len(looked) >= 25:
            raise KeyboardInterrupt
        looked.append(sample.key)
        return real(sample, limits)

    monkeypatch.setattr(survey_module, "look", look)
    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "killed")
    num_shards = len(list((tmp_path / "killed").glob("*.npz")))
    assert num_shards in (1, 2)
    repeated: list[str] = []
    monkeypatch.setattr(
        survey_module, "look", lambda sample, limits: (repeated.append(sample.key), real(sample, limits))[1]
    )
    assert same(run(photos, tmp_path / "killed"), expected)
    assert len(repeated) == 46 - 10 * num_shards
    repeated.clear()
    assert same(run(photos, tmp_path / "killed"), expected) and not repeated


def test_a_changed_picture_a_changed_limit_and_a_damaged_shard_are_looked_at_again(photos, tmp_path):
    run(photos, tmp_path / "work")
    (photos / "a" / "00.png").write_bytes(b"")
    assert [refused.reason for refused in run(photos, tmp_path / "work").quarantine] == ["empty file"]
    limits = Limits(min_side=97)
    with pytest.raises(UserError):
        run(photos, tmp_path / "work", limits=limits)
    for shard in (tmp_path / "work").glob("*.npz"):
        shard.write_bytes(shard.read_bytes()[:100])
    assert len(run(photos, tmp_path / "work").samples) == 39


def test_pictures_without_colour_are_known_however_they_are_kept(photos, tmp_path):
    grey = blobs(2).convert("L")
    grey.save(photos / "a" / "plain.png")
    grey.convert("RGB").save(photos / "a" / "three.jpg", quality=60)  # as cameras at night keep them
    found = run(photos, tmp_path / "work")
    told = {sample.key for sample, is_grey in zip(found.samples, found.is_grey, strict=True) if is_grey}
    assert told == {"a/plain.png", "a/three.jpg"}


def test_more_workers_change_nothing(photos, tmp_path):
    source = read_source(photos, labels="auto")
    one, four = (curate(source, tmp_path / str(workers), num_workers=workers) for workers in (1, 4))
    assert same(one, four)


def test_a_broken_set_is_refused_after_the_quarantine_is_written(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    blobs(0).save(folder / "good.png")
    for index in range(3):
        (folder / f"{index}.png").write_text("text\n")
    listed = tmp_path / "list.jsonl"
    with pytest.raises(UserError, match=r"3 of 4 inputs .* not an image \(text file\?\)"):
        curate(read_source(folder), tmp_path / "work", quarantine_file=listed)
    assert len(listed.read_text().splitlines()) == 3
    assert len(curate(read_source(folder), tmp_path / "work", max_refused_share=0.8).samples) == 1


def test_one_picture_and_equal_pictures_work(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    blobs(0).save(folder / "0.png")
    assert curate(read_source(folder), tmp_path / "one").cluster.tolist() == [0]
    for index in range(1, 5):
        blobs(0).save(folder / f"{index}.png")
    found = curate(read_source(folder), tmp_path / "five")
    assert found.cluster.tolist() == [0] * 5 and "all 5 images are the same picture" in found.notes[0]


def test_a_quarantine_line_is_json_whatever_the_key(tmp_path):
    write_quarantine(tmp_path / "q.jsonl", [Refused('a\nb"c', "größer"), Refused("图", "x")])
    lines = (tmp_path / "q.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["key"] for line in lines] == ['a\nb"c', "图"]
