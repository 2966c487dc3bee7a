"""Whole runs of `train tokenizer` in seconds: held-out pictures come back, what is written is read again, and slips are
told."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import random_network
from pictures import draw, write_classes
from PIL import Image

import beholder
from beholder.cli.main import main
from beholder.data.annotate import ANNOTATIONS
from beholder.models.codec import PRESETS, ImageCodec
from beholder.pretrained.part_folder import Part, load_part
from beholder.recipes.tokenizer import learn as learning
from beholder.recipes.tokenizer import train_tokenizer
from beholder.recipes.tokenizer.learn import repaint, to_bytes, to_pixels
from beholder.recipes.tokenizer.pictures import groups_of, hold_out
from beholder.recipes.tokenizer.sheets import sheet
from beholder.tasks.provenance import read_origin
from beholder.train import loop
from beholder.types import Sample, UserError

pytestmark = pytest.mark.slow

SHAPE = replace(PRESETS["debug"], has_line=True)
QUICK: dict[str, Any] = {
    "size": 16, "levels": (4, 4, 2), "budget": "12 steps", "shape": SHAPE, "device": "cpu", "threads": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _small_eye(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny network in the place of the ImageNet one, whose stages are as many."""
    monkeypatch.setattr("beholder.recipes.tokenizer.learn.efficientnet_lite0", random_network)
    monkeypatch.setattr("beholder.recipes.tokenizer.learn.EYE", (0, 1))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_classes(tmp_path_factory.mktemp("data") / "photos", 60, ("across", "along", "disc"))
    (folder / "across" / "broken.png").write_text("no picture")
    Image.fromarray(draw(np.random.default_rng(9), 0, 1)).save(folder / "across" / "tiny.png")
    return folder


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_a_run_leaves_a_tokenizer_a_report_and_samples(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    results = train_tokenizer(photos, out=out, **QUICK)
    assert json.loads((out / "results.json").read_text()) == results
    figures = results["reconstruction"]
    assert figures["num_judged"] == 6 and results["data"]["split"] == {"train": 54, "test": 6}
    assert figures["psnr"]["interval"][0] <= figures["psnr"]["value"] <= figures["psnr"]["interval"][1]
    learned = set(load_part(out / "model").facts["pictures"]["learned"])
    assert len(learned) == 54
    assert figures["num_codes"] == 32 and 0 < figures["codes"]["share_used"] <= 1
    origins = [read_origin(path) for path in (out / "samples").glob("step-*.png")]
    assert len(origins) >= 10 and all(one is not None and one["generated"] for one in origins)
    page = (out / "report.html").read_text()
    assert f"PSNR of {figures['psnr']['value']:.1f} dB" in page and "tiny.png" in page
    assert page.count("data:image/png;base64") == 2 * figures["num_judged"]
    assert not re.search(r"(?:src|href)=.http", page)  # it asks nobody for anything
    reasons = (out / "quarantine.jsonl").read_text()
    assert "tiny.png" in reasons and "broken.png" in reasons  # smaller than a patch, and no picture
    assert "scratch" not in {path.name for path in out.iterdir()}


def test_what_was_trained_is_loaded_by_the_name_of_the_run(photos: Path, tmp_path: Path) -> None:
    results = train_tokenizer(photos, out=tmp_path / "run", **QUICK)
    part = beholder.load(tmp_path / "run")
    assert isinstance(part, Part) and part.kind == "codec" and isinstance(part.model, ImageCodec)
    assert part.facts["image_size"] == 16 and part.facts["held_out"] == results["reconstruction"]
    assert part.config.image_size == 16 and part.model.num_codes == 32
    picture = np.repeat(np.arange(16, dtype=np.uint8)[None, None, None] * 15, 3, 1).repeat(16, 2)
    painted, codes = repaint(part.model, picture, torch.device("cpu"))
    assert painted.shape == picture.shape and codes.shape == (1, 4, 4)


def test_resuming_equals_not_stopping(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {**QUICK, "adversary": True}
    train_tokenizer(photos, out=tmp_path / "whole", **options)
    real, taken = loop.take_step, []

    def killed(*arguments: Any, **named: Any) -> Any:
        taken.append(named["step"])
        if len(taken) == 9:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr("beholder.recipes.tokenizer.learn.SAVE_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(loop, "take_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train_tokenizer(photos, out=tmp_path / "parts", **options)
    monkeypatch.setattr(loop, "take_step", real)
    train_tokenizer(photos, out=tmp_path / "parts", **options)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    named = [(tmp_path / run / "samples" / "step-000012.png").read_bytes() for run in ("whole", "parts")]
    assert named[0] == named[1]


def test_other_pictures_cannot_go_on(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "photos"
    shutil.copytree(photos, place)

    def stopped(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "take_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        train_tokenizer(place, out=tmp_path / "run", **QUICK)
    next(iter(sorted(place.rglob("*.png")))).unlink()
    with pytest.raises(UserError, match="has changed since"):
        train_tokenizer(place, out=tmp_path / "run", **QUICK)


@pytest.mark.parametrize("changes", [{"codes": "learned", "levels": None, "num_codes": 24}, {"shape": "debug-vit"}])
def test_other_kinds_run_to_the_end(changes: dict[str, Any], photos: Path, tmp_path: Path) -> None:
    shape = replace(PRESETS[changes["shape"]], has_line=True) if "shape" in changes else SHAPE
    results = train_tokenizer(photos, out=tmp_path / "run", **{**QUICK, **changes, "shape": shape})
    assert results["reconstruction"]["num_codes"] == changes.get("num_codes", 32)


def test_more_steps_bring_pictures_back_better(photos: Path, tmp_path: Path) -> None:
    values = [
        train_tokenizer(photos, out=tmp_path / budget, **{**QUICK, "budget": budget})["reconstruction"]["psnr"]["value"]
        for budget in ("1 step", "80 steps")
    ]
    assert values[1] > values[0] + 0.3


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of a bright square on something dark, and where it is."""
    folder, draws = tmp_path_factory.mktemp("masked"), np.random.default_rng(5)
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    for number in range(40):
        mask = np.zeros((16, 16), np.uint8)
        top, left = draws.integers(0, 10, 2)
        mask[top : top + 6, left : left + 6] = 255
        dark = draws.integers(0, 60, (16, 16, 3))
        Image.fromarray(np.where(mask[..., None] > 0, 200, dark).astype(np.uint8)).save(folder / f"images/{number}.png")
        Image.fromarray(mask).save(folder / f"masks/{number}.png")
    return folder


def test_masks_are_learned_beside_photos_and_judged_on_those_held_out(masked: Path, tmp_path: Path) -> None:
    options = {**QUICK, "levels": None, "num_codes": 64, "budget": "30 steps"}
    results = train_tokenizer(masked, out=tmp_path / "run", **options)
    assert results["data"]["num_kept"] == 40  # no mask is taken for a photo
    told = results["reconstruction"]["masks"]
    assert told["num_judged"] == results["data"]["split"]["test"] and told["value"] > 0.8
    assert "held-out masks" in (tmp_path / "run" / "report.html").read_text()
    without = train_tokenizer(masked, out=tmp_path / "none", also="none", **options)
    assert "masks" not in without["reconstruction"] and "--also none" in without["command"]


def test_drawings_that_cannot_be_had_are_told(photos: Path, tmp_path: Path) -> None:
    for also, sentence in (("masks", "no picture of"), ("edge", "choose from masks, edges"), (" ,", "names nothing")):
        with pytest.raises(UserError, match=sentence):
            train_tokenizer(photos, out=tmp_path / "run", **{**QUICK, "also": also})


def test_a_mask_of_another_size_is_told(masked: Path, tmp_path: Path) -> None:
    shutil.copytree(masked, tmp_path / "photos")
    Image.new("L", (16, 12)).save(tmp_path / "photos" / "masks" / "7.png")
    with pytest.raises(UserError, match=r"masks/7.png is 16 x 12 pixels and its picture 16 x 16"):
        train_tokenizer(tmp_path / "photos", out=tmp_path / "run", **QUICK)


def test_drawings_are_a_quarter_of_a_batch_and_stand_behind_the_photos(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[np.ndarray, np.ndarray, torch.Tensor]] = []
    real = learning._stream

    def listening(sitting: Any, learned: np.ndarray, drawn: np.ndarray | None = None) -> Any:
        stream = real(sitting, learned, drawn)
        if drawn is not None:
            dark, light = np.zeros_like(learned), np.full_like(drawn, 255)
            seen.append((learned, drawn, real(sitting, dark, light).batch(0)["views"][0]))
        return stream

    monkeypatch.setattr(learning, "_stream", listening)
    train_tokenizer(photos, out=tmp_path / "run", **{**QUICK, "also": "edges", "budget": "1 step"})
    ((learned, drawn, batch),) = seen
    nothing = np.random.default_rng(0)  # edges draw no lots
    squares = [ANNOTATIONS["edges"].change(one.transpose(1, 2, 0), nothing).transpose(2, 0, 1) for one in learned]
    assert np.array_equal(drawn, np.stack(squares))
    assert batch.mean((1, 2, 3)).tolist() == pytest.approx([-1.0] * 24 + [1.0] * 8)


def test_doubles_and_groups_are_never_on_both_sides() -> None:
    samples = tuple(Sample(str(row), group=f"g{row % 7}" if row % 2 else None) for row in range(60))
    cluster = np.arange(60) // 2 * 2  # pairs of doubles
    groups = groups_of(samples, cluster)
    held_out = hold_out(samples, groups, 0)
    assert 0 < held_out.sum() < 30
    assert not set(groups[held_out]) & set(groups[~held_out])
    assert np.array_equal(held_out, hold_out(samples, groups, 0))


class TestWhatATokenizerKnows:
    SAMPLES = tuple(Sample(str(row)) for row in range(100))

    def test_of_the_same_pictures_the_same_are_held_out_again(self) -> None:
        usual = hold_out(self.SAMPLES, np.arange(100), 3)
        assert usual.sum() == 10 and np.array_equal(hold_out(self.SAMPLES, np.arange(100), 3, ~usual), usual)

    def test_what_was_learned_from_is_never_held_out_when_pictures_come(self) -> None:
        is_known = np.zeros(100, bool)
        is_known[:63] = True
        groups = np.arange(100) // 2  # pairs of doubles, one of which was learned from in half
        held = hold_out(self.SAMPLES, groups, 0, is_known)
        assert 5 <= held.sum() <= 14 and not held[:64].any()
        assert not set(groups[held]) & set(groups[~held])

    def test_of_a_named_test_part_what_is_known_is_left_out(self) -> None:
        samples = tuple(Sample(str(row), split="test" if row < 5 else "train") for row in range(40))
        is_known = np.arange(40) >= 3
        assert np.flatnonzero(hold_out(samples, np.arange(40), 0, is_known)).tolist() == [0, 1, 2]


def test_a_test_part_that_the_data_name_is_the_one_held_out() -> None:
    samples = tuple(Sample(str(row), split="test" if row < 5 else "train") for row in range(40))
    assert np.flatnonzero(hold_out(samples, np.arange(40), 0)).tolist() == [0, 1, 2, 3, 4]


def test_bytes_and_pixels_are_each_other_and_sheets_hold_all() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (11, 3, 8, 8), np.uint8)
    assert np.array_equal(to_bytes(to_pixels(pictures)), pictures)
    whole = sheet(pictures, 255 - pictures)
    assert np.array_equal(whole[:8, :8], pictures[0].transpose(1, 2, 0))
    assert np.array_equal(whole[10:18, :8], 255 - pictures[0].transpose(1, 2, 0))
    assert np.array_equal(whole[-8:, 20:28], 255 - pictures[10].transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"size": 8, "shape": None},
            "--size 8: a code stands for 8 x 8 pixels, so the side is a multiple of 8 from 16",
        ),
        ({"size": 18}, "--size 18: a code stands for 4 x 4 pixels"),
        ({"size": 4}, "from 16 to 512"),
        ({"stride": 1}, "--stride 1: a code stands for a square of 2 to 32 pixels"),
        ({"stride": 6, "shape": None}, "--size 16: a code stands for 6 x 6 pixels"),
        ({"budget": "0"}, "--budget 0: nothing is learned in no time"),
        ({"budget": "soon"}, "--budget soon: give a time"),
        ({"levels": (4, 1)}, "--levels 4 1: each is at least 2"),
        ({"levels": (64, 64, 64)}, "at most 65,536"),
        ({"codes": "learned"}, "--levels goes with --codes finite"),
        ({"num_codes": 64}, "--num-codes goes with --codes learned"),
        ({"codes": "learned", "levels": None, "num_codes": 1}, "--num-codes 1: a table has from 2"),
    ],
)
def test_settings_that_cannot_work_are_told_before_anything_is_read(
    changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        train_tokenizer(tmp_path / "none", out=tmp_path / "run", **{**QUICK, **changes})
    assert not (tmp_path / "run").exists()


def test_too_few_pictures_and_one_picture_again_and_again(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has 8 pictures that can be used and at least 20 are needed"):
        train_tokenizer(write_classes(tmp_path / "few", 8), out=tmp_path / "a", **QUICK)
    picture = Image.fromarray(draw(np.random.default_rng(0), 2))
    (tmp_path / "same").mkdir()
    for number in range(25):
        picture.save(tmp_path / "same" / f"{number}.png")
    with pytest.raises(UserError, match="one picture again and again"):
        train_tokenizer(tmp_path / "same", out=tmp_path / "b", **QUICK)


def test_another_recipe_in_the_same_folder_is_refused(photos: Path, tmp_path: Path) -> None:
    train_tokenizer(photos, out=tmp_path / "run", **QUICK)
    with pytest.raises(UserError, match="holds a finished run"):
        train_tokenizer(photos, out=tmp_path / "run", **QUICK)


def test_the_command(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--size", "16", "--budget=1step", "--levels", "4", "4", "--device", "cpu", "--threads", "1", "--json"]
    assert main(["train", "tokenizer", "--data", str(photos), "--out", str(tmp_path / "run"), *options]) == 0
    stages = [json.loads(line).get("stage") for line in capsys.readouterr().out.splitlines()]
    told = ["Read", "Curate", "Split", "Estimate", "Train", "Judge", "Cost", "Model", "Report"]
    assert [stage for stage in stages if stage] == told
    asked = json.loads((tmp_path / "run" / "results.json").read_text())["command"]
    assert "--size 16 --levels 4 4 --budget 1step --device cpu --threads 1" in asked
    assert main(["train", "tokenizer", "--data", str(tmp_path / "nothing"), "--out", str(tmp_path / "other")]) == 2
    assert main(["classify", "--model", str(tmp_path / "run"), str(photos)]) == 2
    assert "is an image tokenizer" in capsys.readouterr().err
