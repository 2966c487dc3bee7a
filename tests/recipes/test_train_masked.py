"""`train masked` from pictures to a model that mends: small, whole runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sentences import SIDE, draw_block, save_codec, write_blocks

from beholder.cli.main import main
from beholder.data.decode import Limits
from beholder.inference.unmask import UnmaskConfig
from beholder.pretrained.part_folder import Part, load_part
from beholder.recipes.coded_pictures import PLAIN, encode_once, look_plainly
from beholder.recipes.masked import train_masked
from beholder.recipes.masked.holes import put_holes
from beholder.recipes.masked.judge import _most_equal
from beholder.recipes.masked.material import gather
from beholder.recipes.masked.settings import MaskedTraining
from beholder.recipes.masked.stream import CodeStream
from beholder.recipes.sitting import Sitting
from beholder.runtime.device import pick_device
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.tasks.masked_pictures import MaskedPictures
from beholder.tasks.picture_codes import PictureCodes
from beholder.tasks.provenance import read_origin
from beholder.types import UserError

QUICK = MaskedTraining(
    "debug", budget="6 steps", batch_size=4, num_judged=2, num_samples=6, decoding=UnmaskConfig(num_steps=3)
)
CPU = pick_device("cpu", 1)


def write_told(folder: Path, count: int) -> Path:
    """Blocks in two classes with a caption each; every fourth caption tells left from right."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(count):
        label = ("bright", "dark")[number % 2]
        picture = draw_block(generator) // (1 + number % 2)
        noisy = np.clip(picture + generator.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
        folder.mkdir(exist_ok=True)
        Image.fromarray(noisy).save(folder / f"{number:04d}.png")
        text = f"a {label} block on the left" if number % 4 == 0 else f"a {label} block"
        rows.append(json.dumps({"file_name": f"{number:04d}.png", "label": label, "text": text}))
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Part:
    return save_codec(tmp_path_factory.mktemp("codec"), num_steps=150)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_told(tmp_path_factory.mktemp("photos") / "told", 40)


@pytest.fixture(scope="module")
def stream(photos: Path, codec: Part, tmp_path_factory: pytest.TempPathFactory) -> CodeStream:
    run = RunFolder.open(tmp_path_factory.mktemp("run") / "r", {})
    sitting = Sitting(photos, QUICK, 0, run, CPU, Limits(), Log(quiet=True))
    material, pictures = gather(sitting, codec.facts), PictureCodes(codec, CPU)
    look = look_plainly(material.collection, pictures, Limits())
    tables = encode_once(sitting, pictures, look, [PLAIN], len(material.collection.samples))
    return CodeStream(material, tables, 8, seed=3)


class TestWhatIsLearned:
    def test_classes_and_captions_come_with_their_picture(self, stream: CodeStream) -> None:
        material = stream.material
        assert material.labels == ("bright", "dark") and material.captions is not None
        table = np.asarray(stream.tables.tables[PLAIN], np.int64)
        batch = stream.batch(0)
        for codes, number, words in zip(batch["codes"], batch["classes"], batch["captions"], strict=True):
            places = np.argwhere((table == codes.numpy()).all(2))
            assert any(
                material.classes[place] == number and np.array_equal(material.words[place], words)
                for place, _ in places
            )

    def test_only_pictures_to_learn_from_each_once_an_epoch(self, stream: CodeStream) -> None:
        known = stream.material.places(False)
        table = np.asarray(stream.tables.tables[PLAIN], np.int64)
        allowed = {table[place, view].tobytes() for place in known for view in (0, 1)}
        rows = [row for step in range(8) for row in stream.batch(step)["codes"].numpy()]
        assert {row.tobytes() for row in rows} <= allowed

    def test_captions_that_tell_sides_are_never_mirrored(self, stream: CodeStream) -> None:
        assert stream._is_sided.sum() == 10
        table, material = np.asarray(stream.tables.tables[PLAIN], np.int64), stream.material
        captions = material.captions
        assert captions is not None
        plain = {table[place, 0].tobytes() for place in np.flatnonzero(stream._is_sided)}
        for step in range(20):
            batch = stream.batch(step)
            for codes, words in zip(batch["codes"].numpy(), batch["captions"].numpy(), strict=True):
                if "left" in captions.decode(words):
                    assert codes.tobytes() in plain

    def test_batches_are_a_function_of_seed_and_step(self, stream: CodeStream) -> None:
        again = CodeStream(stream.material, stream.tables, 8, seed=3)
        assert torch.equal(stream.batch(5)["codes"], again.batch(5)["codes"])
        assert not torch.equal(stream.batch(5)["codes"], stream.batch(6)["codes"])

    def test_holes_are_put_into_held_out_pictures_of_both_kinds(self, stream: CodeStream) -> None:
        holed = put_holes(stream.material, stream.tables, 3, 0)
        assert stream.material.collection.is_held_out[holed.places].all()
        assert set(holed.kinds) == {"rectangle", "irregular"} and holed.holes.mean((1, 2)).min() >= 0.25


@pytest.fixture(scope="module")
def finished(photos: Path, codec: Part, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("runs") / "masked"
    return out, train_masked(photos, tokenizer=codec.source, out=out, settings=QUICK, device="cpu", threads=1)


def test_copies_are_looked_for_among_all_training_pictures() -> None:
    generator = np.random.default_rng(0)
    table = generator.integers(0, 50, (4500, 2, 16)).astype(np.uint16)
    places, codes = np.arange(100, 4500), generator.integers(0, 50, (6, 16))
    codes[0], codes[1], codes[2] = table[4321, 1], table[2150, 0], table[50, 0]  # the last one was not learned from
    codes[1, :4] = 99
    found = _most_equal(codes, table, places)
    wanted = [(table[places].reshape(-1, 16) == row).mean(1).max() for row in codes]
    assert np.allclose(found, wanted) and found[0] == 1 and found[1] == 0.75 and found[2] < 1


class TestARun:
    def test_it_leaves_a_model_a_page_and_samples(self, finished: tuple[Path, dict[str, Any]], codec: Part) -> None:
        out, told = finished
        part = load_part(out / "model")
        assert part.kind == "masked" and part.need_codec().fingerprint == codec.fingerprint
        assert part.facts["labels"] == ["bright", "dark"] and "bright" in part.need_captions().words
        page = (out / "report.html").read_text(encoding="utf-8")
        assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
        assert page.count("data:image/png") == 3 and "Nearest training picture" in page
        origins = [read_origin(path) for path in sorted((out / "samples").glob("step-*.png"))]
        assert len(origins) >= 2 and all(one is not None and one["generated"] for one in origins)
        assert json.loads((out / "results.json").read_text()) == told

    def test_it_is_judged_beside_what_costs_nothing(self, finished: tuple[Path, dict[str, Any]]) -> None:
        judged = finished[1]["judged"]
        for told in judged["holes"]["kinds"].values():
            assert {"mean colour", "smooth (harmonic)", "nearest training picture"} <= set(told["rivals"])
            assert told["share_hidden"] >= 0.25
            for rival in told["rivals"].values():
                assert rival["gain"] == pytest.approx(rival["distance"] - told["distance"])
        assert judged["classes"]["num_classes"] == 2 and 0 <= judged["samples"]["precision"] <= 1

    def test_stopping_and_going_on_equals_not_stopping(
        self, finished: tuple[Path, dict[str, Any]], photos: Path, codec: Part, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole, told = finished
        out = whole.with_name("stopped")
        nats, calls = MaskedPictures.nats, []

        def tiring(self: MaskedPictures, *given: Any) -> np.ndarray:
            calls.append(1)
            if len(calls) == 8:  # in the middle of training: probes come between steps
                raise KeyboardInterrupt
            return nats(self, *given)

        arguments = {"tokenizer": codec.source, "out": out, "settings": QUICK, "device": "cpu"}
        monkeypatch.setattr(MaskedPictures, "nats", tiring)
        with pytest.raises(KeyboardInterrupt):
            train_masked(photos, **arguments, threads=1)
        monkeypatch.undo()
        again = train_masked(photos, **arguments, threads=1)
        assert load_part(out / "model").fingerprint == load_part(whole / "model").fingerprint
        assert again["judged"] == told["judged"]

    def test_the_command_that_is_told_is_accepted(self, finished: tuple[Path, dict[str, Any]]) -> None:
        words = finished[1]["command"].split()
        assert words[:3] == ["beholder", "train", "masked"] and "'6 steps'" in finished[1]["command"]


class TestMistakes:
    def test_they_are_told_in_one_sentence(
        self, photos: Path, codec: Part, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        base = ["train", "masked", "--data", photos, "--tokenizer", codec.source, "--out", tmp_path / "out"]
        for extra, told in (
            (["--budget", "0"], "nothing is learned in no time"),
            (["--budget", "soon"], "--budget soon"),
            (["--batch-size", "0"], "--batch-size 0"),
            (["--batch-size", "-4"], "--batch-size -4"),
            (["--steps", "0"], "--steps 0"),
            (["--guidance", "-1"], "--guidance -1"),
        ):
            assert main(list(map(str, [*base, *extra]))) == 2
            lines = capsys.readouterr().err.strip().splitlines()
            assert len(lines) == 1 and told in lines[0]
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
        with pytest.raises(UserError, match="no model lies there"):
            train_masked(photos, tokenizer=tmp_path, out=tmp_path / "out", settings=QUICK)

    def test_memory_that_does_not_suffice_is_told_with_the_batch_that_would(
        self, photos: Path, codec: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from beholder.models.maskgit import MaskGIT

        forward = MaskGIT.forward

        def scarce(self: MaskGIT, codes: torch.Tensor, *given: Any, **more: Any) -> torch.Tensor:
            if len(codes) > 5:
                raise torch.OutOfMemoryError("no more")
            return forward(self, codes, *given, **more)

        monkeypatch.setattr(MaskGIT, "forward", scarce)
        with pytest.raises(UserError, match=r"--batch-size 4"):
            train_masked(
                photos, tokenizer=codec.source, out=tmp_path / "o", settings=replace(QUICK, batch_size=16), device="cpu"
            )
        monkeypatch.undo()
        train_masked(  # a first try that is refused may be mended
            photos, tokenizer=codec.source, out=tmp_path / "o", settings=replace(QUICK, batch_size=4), device="cpu"
        )

    def test_too_few_pictures_are_told(self, codec: Part, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="at least 20"):
            train_masked(write_blocks(tmp_path / "p", 8), tokenizer=codec.source, out=tmp_path / "o", settings=QUICK)


def test_data_without_classes_and_captions_can_only_be_mended(codec: Part, tmp_path: Path) -> None:
    assert codec.config.image_size == SIDE
    photos = write_blocks(tmp_path / "bare", 24)
    told = train_masked(photos, tokenizer=codec.source, out=tmp_path / "o", settings=QUICK, device="cpu", threads=1)
    assert told["judged"]["classes"] is None
    part = load_part(tmp_path / "o" / "model")
    assert part.config.num_classes == 0 and part.captions is None


@pytest.mark.slow
def test_a_minute_of_it_mends_better_than_smoothing(codec: Part, tmp_path: Path) -> None:
    """Rows of blocks that go on: what is hidden follows from what is not."""
    folder, generator = tmp_path / "rows", np.random.default_rng(0)
    folder.mkdir()
    for number in range(120):
        picture = np.full((SIDE, SIDE, 3), 20, np.uint8)
        picture[:, (number % 2) * 4 :: 8] = picture[:, (number % 2) * 4 + 1 :: 8] = 230
        picture[:, (number % 2) * 4 + 2 :: 8] = picture[:, (number % 2) * 4 + 3 :: 8] = 230
        noisy = np.clip(picture + generator.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number:04d}.png")
    settings = replace(QUICK, budget="250 steps", batch_size=16, lr=4e-3, num_judged=12)
    told = train_masked(folder, tokenizer=codec.source, out=tmp_path / "o", settings=settings, device="cpu", threads=1)
    rivals = told["judged"]["holes"]["kinds"]["all"]["rivals"]
    assert rivals["smooth (harmonic)"]["gain"] > 0.02 and rivals["mean colour"]["gain"] > 0.02
    assert rivals["mean colour"]["interval"] is None  # the rows are doubles of each other, and one group is held out
    assert "Judged on one group alone" in (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
