"""inpaint and edit: what stays, what is told, what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from holes import save_masked
from PIL import Image
from sentences import SIDE, draw_block, save_codec, save_lvm

import beholder
from beholder.cli.main import main
from beholder.inference.sampling import SamplingConfig
from beholder.inference.unmask import UnmaskConfig
from beholder.pretrained.part_folder import MASKED, Part, load_part, open_part
from beholder.runtime.device import pick_device
from beholder.tasks.inpaint import inpaint, paint
from beholder.tasks.masked_pictures import Wish, open_masked
from beholder.tasks.provenance import read_origin
from beholder.types import UserError

CPU = pick_device("cpu", 1)


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    codec = save_codec(tmp_path_factory.mktemp("codec"))
    return save_masked(tmp_path_factory.mktemp("masked") / "model", codec)


def picture(height: int = SIDE, width: int = SIDE, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    noise = generator.normal(0, 8, (height, width, 3))
    return np.clip(np.asarray(Image.fromarray(draw_block(generator)).resize((width, height))) + noise, 0, 255).astype(
        np.uint8
    )


def hole_in(shape: tuple[int, int], top: int, left: int, size: int) -> np.ndarray:
    hole = np.zeros(shape, bool)
    hole[top : top + size, left : left + size] = True
    return hole


def differ_by_rounding(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the codes must have been the same: batches of other sizes add up in another order."""
    return one.shape == other.shape and np.abs(one.astype(int) - other).max() <= 1


SHAPES = {"the model's": (SIDE, SIDE), "larger": (40, 40), "tall": (61, 24), "wide and small": (13, 30)}


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_outside_of_the_mask_nothing_changes_and_within_it_does(part: Part, name: str) -> None:
    shape = SHAPES[name]
    pixels, hole = picture(*shape), hole_in(shape, 5, 7, 6)
    found = inpaint(part, pixels, hole, count=2, device=CPU)
    for one in found:
        assert one.picture.shape == pixels.shape
        assert np.array_equal(one.picture[~hole], pixels[~hole])
        assert not np.array_equal(one.picture[hole], pixels[hole])
    assert not np.array_equal(found[0].picture, found[1].picture)
    assert bool(found[0].notes) == (name != "the model's")


def test_what_lay_in_the_hole_does_not_matter(part: Part) -> None:
    pixels, hole = picture(), hole_in((SIDE, SIDE), 3, 5, 7)
    other = np.where(hole[..., None], 255 - pixels, pixels)
    one, two = (inpaint(part, each, hole, seed=4, device=CPU)[0].picture for each in (pixels, other))
    assert np.array_equal(one, two)
    large, wide = picture(40, 40), hole_in((40, 40), 8, 9, 11)
    other = np.where(wide[..., None], 255 - large, large)
    one, two = (inpaint(part, each, wide, seed=4, device=CPU)[0].picture for each in (large, other))
    assert np.array_equal(one, two)


def test_a_version_is_the_same_beside_others_as_alone(part: Part) -> None:
    pixels, hole = picture(), hole_in((SIDE, SIDE), 2, 2, 9)
    many = inpaint(part, pixels, hole, count=3, seed=5, batch_size=2, device=CPU)
    alone = inpaint(part, pixels, hole, seed=7, device=CPU)[0]
    assert differ_by_rounding(many[2].picture, alone.picture) and many[2].origin == alone.origin


def test_a_mask_at_the_end_of_a_long_picture_is_covered(part: Part) -> None:
    pixels, hole = picture(80, 20), hole_in((80, 20), 70, 3, 10)
    found = inpaint(part, pixels, hole, device=CPU)[0]
    assert not np.array_equal(found.picture[hole], pixels[hole]) and "row 60" in found.notes[0]


def test_masks_may_be_files_arrays_or_pictures(part: Part, tmp_path: Path) -> None:
    pixels, hole = picture(), hole_in((SIDE, SIDE), 4, 4, 6)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(hole.astype(np.uint8)).save(tmp_path / "m.png")
    masks = (tmp_path / "m.png", hole, hole[..., None].astype(np.uint8) * 200, Image.fromarray(hole))
    found = [beholder.inpaint(part, tmp_path / "a.png", mask, "cpu", threads=1)[0].picture for mask in masks]
    assert all(np.array_equal(one, found[0]) for one in found)


def test_a_transparent_part_of_the_mask_is_what_is_replaced(part: Part) -> None:
    pixels, hole = picture(), hole_in((SIDE, SIDE), 4, 4, 6)
    clear = np.dstack([pixels, np.where(hole, 0, 255).astype(np.uint8)])
    (one,) = inpaint(part, pixels, clear, device=CPU)
    assert np.array_equal(one.picture, inpaint(part, pixels, hole, device=CPU)[0].picture)
    assert "transparent" in one.notes[0]


def test_what_has_another_type_is_told_in_one_sentence(part: Part) -> None:
    """In a program of its own: here the tests' own check of types would come first."""
    script = f"""
import numpy as np, beholder
from PIL import Image
model, pixels, hole = {str(part.source)!r}, np.zeros((16, 16, 3), np.uint8), np.eye(16, dtype=bool)
for ask in (
    lambda: beholder.inpaint(model, pixels, None),
    lambda: beholder.inpaint(model, pixels, [[1]]),
    lambda: beholder.inpaint(model, pixels, np.zeros(4, np.uint8)),
    lambda: beholder.inpaint(model, pixels, np.zeros((16, 16))),
    lambda: beholder.inpaint(model, pixels, hole, seed=1.5),
    lambda: beholder.generate(model, ["a block"]),
    lambda: beholder.inpaint(model, pixels, Image.new("L", (3, 3))),
):
    try:
        ask()
    except beholder.UserError as error:
        print(error)
"""
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    told = ("The mask is None; give a file", "The mask is [[1]]; ", "an array (4,) of uint8", "(16, 16) of float64",
            "--seed 1.5: give a whole number", "The prompt is ['a block']; give one text",
            "The mask cannot be read (3 x 3 pixels")  # fmt: skip
    lines = found.stdout.splitlines()
    assert len(lines) == len(told) and all(words in line for words, line in zip(told, lines, strict=True))


def test_what_is_no_seed_is_refused(part: Part) -> None:
    for make in (
        lambda seed: inpaint(part, picture(), hole_in((SIDE, SIDE), 3, 5, 7), seed=seed, device=CPU),
        lambda seed: paint(part, seed=seed, device=CPU),
    ):
        for seed in (-1, 1 << 62):
            with pytest.raises(UserError, match=f"--seed {seed}: give a whole number"):
                make(seed)


def test_asking_for_a_class_or_words_changes_the_answer(part: Part) -> None:
    pixels, hole = picture(), hole_in((SIDE, SIDE), 0, 0, 12)
    plain = beholder.inpaint(part, pixels, hole, "cpu")[0]
    by_label = beholder.edit(part, pixels, hole, "cpu", label="dark", guidance=8.0)[0]
    by_words = beholder.edit(part, pixels, hole, "cpu", prompt="a bright block", guidance=8.0)[0]
    assert not np.array_equal(plain.picture, by_label.picture) and not np.array_equal(plain.picture, by_words.picture)
    assert by_label.origin["label"] == "dark" and by_words.origin["text"] == "a bright block"
    assert plain.origin["made_by"].endswith("inpaint") and by_label.origin["made_by"].endswith("edit")


def test_more_than_memory_can_hold_is_refused_before_it_is_tried(part: Part) -> None:
    for make in (
        lambda: inpaint(part, picture(), hole_in((SIDE, SIDE), 3, 5, 7), count=100_000_000, device=CPU),
        lambda: paint(part, count=100_000_000, device=CPU),
    ):
        with pytest.raises(UserError, match=r"--count 100000000: at most 10,000 pictures"):
            make()


@pytest.mark.parametrize("value", [1e-40, float("inf"), float("nan")])
def test_a_temperature_that_scores_cannot_be_divided_by_is_refused(value: float) -> None:
    for config in (UnmaskConfig, SamplingConfig):
        with pytest.raises(UserError, match="a number from 1e-06 on"):
            config(temperature=value)


def test_pictures_from_nothing_are_drawn_as_asked(part: Part) -> None:
    found = paint(part, wish=Wish(label="bright"), count=3, decoding=UnmaskConfig(4), seed=2, device=CPU)
    assert [one.picture.shape for one in found] == [(SIDE, SIDE, 3)] * 3
    assert [one.origin["seed"] for one in found] == [2, 3, 4] and found[0].origin["label"] == "bright"
    again = paint(part, wish=Wish(label="bright"), decoding=UnmaskConfig(4), seed=4, device=CPU)[0]
    assert differ_by_rounding(found[2].picture, again.picture)


class TestCommandLine:
    def test_a_picture_that_is_read_is_not_written_over(
        self, part: Part, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Image.fromarray(picture()).save(tmp_path / "a.png")
        Image.fromarray(hole_in((SIDE, SIDE), 4, 4, 6)).save(tmp_path / "m.png")
        before = [(tmp_path / name).read_bytes() for name in ("a.png", "m.png")]
        for out in ("a.png", "../" + tmp_path.name + "/m.png"):
            asked = ["inpaint", tmp_path / "a.png", "--mask", tmp_path / "m.png", "--model", part.source]
            assert main([*map(str, asked), "--out", str(tmp_path / out)]) == 2
            assert "is a picture that is read, and would be lost" in capsys.readouterr().err
        (tmp_path / "a.png").rename(tmp_path / "b-2.png")
        asked = ["inpaint", tmp_path / "b-2.png", "--mask", tmp_path / "m.png", "--model", part.source, "--count", "2"]
        assert main([*map(str, asked), "--out", str(tmp_path / "b.png")]) == 2
        assert "b-2.png is a picture that is read, and would be lost" in capsys.readouterr().err
        assert before == [(tmp_path / name).read_bytes() for name in ("b-2.png", "m.png")]

    def test_missing_folders_are_made_and_what_stands_in_the_way_is_told(
        self, part: Part, files: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked = [*map(str, ["inpaint", files / "a.png", "--mask", files / "m.png", "--model", part.source, "--out"])]
        assert main([*asked, str(files / "m.png" / "x.png")]) == 2
        assert "m.png is a file and no folder; choose another --out" in capsys.readouterr().err
        assert main([*asked, str(files / ("x" * 300 + ".png"))]) == 2
        assert "the name is too long" in capsys.readouterr().err
        assert main([*asked, str(files / "new" / "deep" / "x.png")]) == 0
        assert (files / "new" / "deep" / "x.png").is_file()

    @pytest.fixture
    def files(self, tmp_path: Path) -> Path:
        Image.fromarray(picture()).save(tmp_path / "a.png")
        Image.fromarray(hole_in((SIDE, SIDE), 4, 4, 6).astype(np.uint8) * 255).save(tmp_path / "m.png")
        return tmp_path

    def run(self, part: Part, files: Path, verb: str, *more: str) -> int:
        base = [
            verb,
            str(files / "a.png"),
            "--mask",
            str(files / "m.png"),
            "--model",
            str(part.source),
            "--device",
            "cpu",
        ]
        return main([*base, "--out", str(files / "out.png"), *more])

    def test_the_file_tells_where_it_comes_from(
        self, part: Part, files: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.run(part, files, "inpaint", "--count", "2", "--seed", "3", "--json") == 0
        told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [Path(one["out"]).name for one in told] == ["out-1.png", "out-2.png"]
        origin = read_origin(files / "out-2.png")
        assert origin is not None and origin["generated"] and origin["model"] == part.fingerprint
        assert origin["seed"] == 4 and [one["file"] for one in origin["prompt"]] == ["a.png", "m.png"]
        assert self.run(part, files, "edit", "--label", "dark") == 0
        assert read_origin(files / "out.png")["label"] == "dark"  # type: ignore[index]

    def test_mistakes_are_told_in_one_sentence(
        self, part: Part, files: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for verb, more, told in (
            ("inpaint", ["--count", "0"], "--count 0"),
            ("inpaint", ["--count", "-3"], "--count -3"),
            ("inpaint", ["--steps", "0"], "--steps 0"),
            ("inpaint", ["--batch-size", "0"], "--batch-size 0"),
            ("inpaint", ["--temperature", "-1"], "--temperature -1"),
            ("edit", [], "give --label or --prompt"),
            ("edit", ["--label", "blue"], "choose from bright, dark"),
            ("edit", ["--prompt", "zebra"], "no word of the learned captions"),
            ("edit", ["--label", "dark", "--guidance", "-1"], "--guidance -1"),
        ):
            assert self.run(part, files, verb, *more) == 2
            lines = capsys.readouterr().err.strip().splitlines()
            assert len(lines) == 1 and told in lines[0]
        given = [
            "inpaint",
            files / "a.png",
            "--mask",
            files / "m.png",
            "--model",
            part.source,
            "--out",
            files / "x.jpg",
        ]
        assert main(list(map(str, given))) == 2 and "end it in .png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mask", "told"),
    [(np.zeros((SIDE, SIDE), bool), "is empty"), (np.ones((SIDE, SIDE), bool), "covers the whole picture"),
     (np.ones((SIDE, 9), bool), "9 x 16 pixels")],
)  # fmt: skip
def test_a_mask_that_is_empty_full_or_of_another_size_is_told(part: Part, mask: np.ndarray, told: str) -> None:
    with pytest.raises(UserError, match=told):
        inpaint(part, picture(), mask, device=CPU)


def test_a_picture_smaller_than_a_patch_and_a_mask_too_long_are_told(part: Part) -> None:
    with pytest.raises(UserError, match="shorter side must have at least"):
        inpaint(part, picture(3, 9), hole_in((3, 9), 0, 0, 2), device=CPU)
    with pytest.raises(UserError, match="40 pixels long"):
        inpaint(part, picture(60, 20), np.pad(np.ones((40, 4), bool), ((10, 10), (8, 8))), device=CPU)


def test_another_tokenizer_is_named(part: Part, tmp_path: Path) -> None:
    shutil.copytree(part.source, tmp_path / "model")
    other = save_codec(tmp_path / "model" / "codec", seed=9)
    with pytest.raises(UserError, match=f"not the tokenizer that .* {other.fingerprint[:12]} instead of"):
        load_part(tmp_path / "model")


def test_a_model_of_another_kind_is_told(part: Part, tmp_path: Path) -> None:
    lvm = save_lvm(tmp_path / "lvm", part.need_codec())
    with pytest.raises(UserError, match="beholder train masked"):
        open_part(lvm.source, MASKED, "--model")
    with pytest.raises(UserError, match="needs one of masked pictures"):
        open_masked(lvm, CPU)
