"""Who is judged by whom, what the run says about it, and mistakes that are found before anything is decided."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pictures import draw
from PIL import Image

from beholder.config import to_json
from beholder.data.decode import Limits
from beholder.recipes.adapt.domain import Domain, read_domain
from beholder.recipes.adapt.settings import AdaptConfig
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.types import UserError

Row = tuple[str | None, str, str]
"""Label, module, split."""


def write_photos(folder: Path, rows: Sequence[Row]) -> Path:
    """One picture a row, no two alike, and their table."""
    generator = np.random.default_rng(0)
    (folder / "photos").mkdir(parents=True)
    with (folder / "labels.csv").open("w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["path", "label", "module", "split"])
        for index, (label, module, split) in enumerate(rows):
            image = draw(generator, index % 2)
            image[:16, :16] = generator.integers(0, 256, (16, 16, 3))
            Image.fromarray(image).save(folder / "photos" / f"{index:03d}.png")
            table.writerow([f"{index:03d}.png", label or "", module, split])
    return folder


def read(folder: Path, out: str = "run", **options: object) -> Domain:
    settings = {"labels": str(folder / "labels.csv"), "group": "module", **options}
    config = AdaptConfig(str(folder / "photos"), **settings)  # pyright: ignore[reportArgumentType]
    with RunFolder.open(folder / out, to_json(config)) as run:
        return read_domain(config, run, Limits(), 1, Log(quiet=True))


def said(domain: Domain) -> str:
    return " | ".join(domain.notes)


class TestSplit:
    def test_a_large_group_is_learned_from(self, tmp_path: Path) -> None:
        rows: list[Row] = [("ab"[i % 2], "large", "") for i in range(30)]
        rows += [("ab"[i % 2], f"m{i // 2}", "") for i in range(12)]
        domain = read(write_photos(tmp_path, rows))
        (fold,) = domain.folds
        assert domain.is_judged
        assert fold.test.min() >= 30
        assert 2 <= len(fold.test) <= 6
        assert {*fold.train, *fold.test} == {*range(42)}

    def test_few_groups_of_one_class_each_are_parted_so_that_both_sides_hold_the_classes(self, tmp_path: Path) -> None:
        domain = read(write_photos(tmp_path, [("ab"[i // 8], f"m{i // 4}", "") for i in range(16)]))
        (fold,) = domain.folds
        assert domain.is_judged
        assert {*domain.labels[fold.train]} == {*domain.labels[fold.test]} == {0, 1}
        assert not domain.notes

    def test_the_own_test_part_is_kept(self, tmp_path: Path) -> None:
        photos = write_photos(tmp_path, [("ab"[i % 2], f"m{i}", "test" if i < 6 else "train") for i in range(24)])
        (fold,) = read(photos).folds
        assert fold.test.tolist() == [*range(6)]
        assert "own test part is kept" in said(read(photos, out="again"))

    def test_with_thorough_the_run_says_that_it_is_not_kept(self, tmp_path: Path) -> None:
        photos = write_photos(tmp_path, [("ab"[i % 2], f"m{i}", "test" if i < 6 else "train") for i in range(24)])
        domain = read(photos, thorough=True)
        assert len(domain.folds) == 4
        assert said(domain) == "the source's own test part is not kept apart: --thorough makes its own folds"
        without = write_photos(tmp_path / "without", [("ab"[i % 2], f"m{i}", "") for i in range(24)])
        assert not read(without, thorough=True).notes


class TestWhyNothingIsJudged:
    def test_classes_that_are_groups(self, tmp_path: Path) -> None:
        domain = read(write_photos(tmp_path, [("ab"[i // 8], "xy"[i // 8], "") for i in range(16)]))
        assert domain.why_not_judged is not None
        assert "each of the classes 'a', 'b' lies in one group only" in domain.why_not_judged
        assert domain.why_not_judged in said(domain)
        assert "label images of each class in several groups" in said(domain)

    def test_one_group(self, tmp_path: Path) -> None:
        domain = read(write_photos(tmp_path, [("ab"[i % 2], "x", "") for i in range(8)]))
        assert domain.why_not_judged == "all labelled images are one group, so none can be kept apart"
        assert said(domain).count("one group") == 1

    def test_an_own_test_part_that_holds_a_class_alone(self, tmp_path: Path) -> None:
        rows: list[Row] = [("good", f"m{i}", "train") for i in range(12)]
        rows += [("good" if i % 2 else "crack", f"t{i}", "test") for i in range(6)]
        photos = write_photos(tmp_path, rows)
        domain = read(photos)
        assert domain.why_not_judged is not None
        assert "class 'crack' cannot be learned: the source's own test part" in domain.why_not_judged
        assert "--thorough makes folds of all images" in said(domain)
        thorough = read(photos, out="thorough", thorough=True)
        assert thorough.is_judged

    def test_an_own_test_part_of_one_class(self, tmp_path: Path) -> None:
        rows: list[Row] = [("ab"[i % 2], f"m{i}", "train") for i in range(12)]
        domain = read(write_photos(tmp_path, [*rows, *[("a", f"t{i}", "test") for i in range(4)]]))
        assert domain.why_not_judged == "the source's own test part holds labels of one class only"

    def test_no_label_one_class_and_single_examples(self, tmp_path: Path) -> None:
        rows: list[Row] = [(None, f"m{i}", "") for i in range(8)]
        photos = write_photos(tmp_path, [("a", "x", ""), ("a", "y", ""), *rows])
        assert read(photos, labels=None, group=None).why_not_judged == "there are no labels to judge by"
        assert read(photos, out="one").why_not_judged == "all labels are 'a', and judging takes two classes"
        single = write_photos(tmp_path / "single", [("a", "x", ""), ("b", "y", ""), *rows])
        assert read(single).why_not_judged == "no two classes have two images each"

    def test_enough_labels(self, tmp_path: Path) -> None:
        assert read(write_photos(tmp_path, [("ab"[i % 2], f"m{i}", "") for i in range(12)])).why_not_judged is None


class TestMistakes:
    @pytest.mark.parametrize(
        ("mistake", "sentence"),
        [
            ({"normal": "fine"}, "--normal fine: not a class here; the classes are a, b."),
            ({"normal": "a", "labels": None, "group": None}, "--normal a: there are no classes here"),
            ({"group": "modul"}, "--group modul: no such column"),
            ({"labels": "missing.csv"}, "--labels missing.csv: no such file"),
        ],
    )
    def test_a_corrected_command_goes_on_in_the_same_folder(
        self, tmp_path: Path, mistake: dict[str, object], sentence: str
    ) -> None:
        photos = write_photos(tmp_path, [("ab"[i % 2], f"m{i}", "") for i in range(12)])
        with pytest.raises(UserError) as caught:
            read(photos, "run", **mistake)
        assert str(caught.value).startswith(sentence)
        assert not (photos / "run").exists(), "told before any image was opened"
        assert read(photos, normal="a").normal == "a"

    def test_a_normal_class_that_curation_leaves_with_one_image(self, tmp_path: Path) -> None:
        photos = write_photos(tmp_path, [("abc"[min(i // 5, 2)], f"m{i}", "") for i in range(12)])
        (photos / "photos" / "010.png").write_bytes(b"broken")
        with pytest.raises(UserError, match="--normal c: not a class here; the classes are a, b"):
            read(photos, normal="c")
        assert read(photos, normal="b").normal == "b"
