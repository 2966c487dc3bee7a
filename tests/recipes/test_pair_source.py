"""Images with texts or classes, in parts that share nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundles import CPU
from PIL import Image
from tuning import write_general, write_own, write_own_texts

from beholder.data.decode import Limits
from beholder.recipes.pair_source import PairSource, digest_of, read_pairs, text_of
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.types import UserError


def read(folder: Path, tmp_path: Path, *, is_guard: bool = False) -> PairSource:
    with RunFolder.open(tmp_path / f"run-{folder.name}-{is_guard}", {}) as run:
        return read_pairs(run, folder, Limits(), CPU, 0, Log(quiet=True), is_guard=is_guard)


def with_splits(folder: Path, names: tuple[str, ...]) -> Path:
    generator = np.random.default_rng(0)
    for part in names:
        for label in ("left_side", "right_side"):
            (folder / part / label).mkdir(parents=True)
            for number in range(12):
                pixels = generator.integers(0, 256, (24, 24, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / label / f"{number}.png")
    return folder


def test_classes_are_texts_where_there_are_no_others(tmp_path: Path) -> None:
    own, texts = read(write_own(tmp_path / "own"), tmp_path), read(write_own_texts(tmp_path / "texts"), tmp_path)
    assert own.has_classes and {text_of(one) for one in own.samples} == {"light", "dark"}
    assert not texts.has_classes and len({text_of(one) for one in texts.samples}) > 50


def test_classes_are_spread_evenly_over_the_parts(tmp_path: Path) -> None:
    found = read(write_own(tmp_path / "own"), tmp_path)
    for part in ("train", "validation", "test"):
        labels = [found.samples[row].label for row in found.rows(part)]
        assert abs(labels.count("light") - labels.count("dark")) <= 1


def test_near_duplicates_stand_on_one_side(tmp_path: Path) -> None:
    folder = write_own(tmp_path / "own")
    for path in sorted((folder / "light").iterdir())[:20]:
        Image.open(path).resize((36, 36)).save(path.with_name(f"again-{path.name}"))
    found = read(folder, tmp_path)
    parts_of = {group: set(found.parts[found.groups == group]) for group in found.groups}
    assert len(parts_of) < len(found.samples) and all(len(parts) == 1 for parts in parts_of.values())


def test_a_guard_is_all_for_judging(tmp_path: Path) -> None:
    found = read(write_general(tmp_path / "general"), tmp_path, is_guard=True)
    assert sorted(np.unique(found.parts)) == ["test", "validation"]
    assert abs(len(found.rows("test")) - 40) <= 2


def test_parts_with_names_are_kept(tmp_path: Path) -> None:
    own = read(with_splits(tmp_path / "own", ("train", "validation", "test")), tmp_path)
    assert all(one.split == part for one, part in zip(own.samples, own.parts, strict=True))
    folder = with_splits(tmp_path / "guard", ("train", "validation", "test"))
    guard = read(folder, tmp_path, is_guard=True)
    assert {(one.split, str(part)) for one, part in zip(guard.samples, guard.parts, strict=True)} == {
        ("train", ""), ("validation", "validation"), ("test", "test"),
    }  # fmt: skip
    two = read(with_splits(tmp_path / "two", ("train", "test")), tmp_path, is_guard=True)
    assert {(one.split, str(part)) for one, part in zip(two.samples, two.parts, strict=True)} == {
        ("train", "validation"), ("test", "test"),
    }  # fmt: skip


def test_one_class_only_leaves_nothing_to_tell_apart(tmp_path: Path) -> None:
    folder = write_own_texts(tmp_path / "texts")
    for path in folder.glob("*.txt"):
        path.write_text("a picture")
    with pytest.raises(UserError, match="one text only, 'a picture'"):
        read(folder, tmp_path)


def test_another_text_is_another_digest(tmp_path: Path) -> None:
    folder = write_own_texts(tmp_path / "texts")
    before = read(folder, tmp_path)
    (folder / "000.txt").write_text("something else")
    (tmp_path / "again").mkdir()
    assert digest_of(before) == digest_of(before) != digest_of(read(folder, tmp_path / "again"))
