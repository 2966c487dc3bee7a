"""`scale-law` from pictures to a law: small, whole runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentences import GRAMMAR, save_codec, write_blocks

import beholder.recipes.scale_law.run as stages
from beholder.cli.main import main
from beholder.models.lvm import LVM
from beholder.pretrained.part_folder import Part
from beholder.recipes.scale_law import run_scale_law
from beholder.recipes.scale_law.held_out import HeldOut
from beholder.recipes.scale_law.members import members_of
from beholder.recipes.scale_law.once import count_sentences
from beholder.recipes.scale_law.settings import ScaleLaw
from beholder.runtime.log import Log
from beholder.tokenizers.sentences import write_sentences
from beholder.types import Batch

QUICK = ScaleLaw(
    ("32x2", "64x2", "96x3", "128x4"), ("plain", "rotate"), "6 steps", num_pictures=4, batch_size=4, num_seeds=2,
    num_held_out=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Part:
    return save_codec(tmp_path_factory.mktemp("codec"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blocks(tmp_path_factory.mktemp("photos") / "blocks", 40)


@pytest.fixture(scope="module")
def finished(photos: Path, codec: Part, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("runs") / "law"
    return out, run_scale_law(photos, tokenizer=codec.source, out=out, settings=QUICK, device="cpu", threads=1)


class TestARun:
    def test_it_leaves_results_and_a_page(self, finished: tuple[Path, dict[str, Any]]) -> None:
        out, told = finished
        assert json.loads((out / "results.json").read_text()) == told
        page = (out / "report.html").read_text(encoding="utf-8")
        assert "law of the smaller sizes" in page and "128x4" in page and "none came twice" in page
        assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")

    def test_sizes_rise_and_wider_models_learn_more_slowly(self, finished: tuple[Path, dict[str, Any]]) -> None:
        sizes = finished[1]["sizes"]
        assert [one["name"] for one in sizes] == list(QUICK.sizes)
        counts, rates = [one["parameters"] for one in sizes], [one["lr"] for one in sizes]
        assert counts == sorted(counts) and rates == sorted(rates, reverse=True)
        assert rates[0] == pytest.approx(2 * rates[3])

    def test_the_largest_is_foretold_by_the_others(self, finished: tuple[Path, dict[str, Any]]) -> None:
        told = finished[1]
        foretold, largest = told["foretold"], told["sizes"][-1]
        assert foretold["measured"] == largest["loss"]
        low, high = foretold["interval"]
        assert foretold["is_met"] == (low <= largest["loss"] <= high)
        assert told["noise"]["num_seeds"] == 2 and len(set(told["noise"]["losses"])) == 2

    def test_sentences_are_counted(self, finished: tuple[Path, dict[str, Any]]) -> None:
        stream = finished[1]["stream"]
        assert stream["sentences"] == 6 * 4 and stream["views_read"] == 4 * stream["sentences"]
        assert stream["repeated"] == 0 and stream["views"] <= stream["views_read"]

    def test_every_size_reads_the_same_sentences(
        self, photos: Path, codec: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read: list[bytes] = []
        hidden = LVM.hidden

        def listening(self: LVM, tokens: Any, **more: Any) -> Any:
            if self.training:
                read.append(tokens.numpy().tobytes())
            return hidden(self, tokens, **more)

        monkeypatch.setattr(LVM, "hidden", listening)
        settings = replace(QUICK, budget="3 steps")
        run_scale_law(photos, tokenizer=codec.source, out=tmp_path / "o", settings=settings, device="cpu", threads=1)
        learned = read[-3 * 5 :]  # before that, steps were timed
        assert len(set(learned)) == 3 and learned == learned[:3] * 5

    def test_stopping_and_going_on_equals_not_stopping(
        self, finished: tuple[Path, dict[str, Any]], photos: Path, codec: Part, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out, whole = finished[0].with_name("stopped"), finished[1]
        arguments = {"tokenizer": codec.source, "out": out, "settings": QUICK, "device": "cpu", "threads": 1}
        losses = HeldOut.losses
        for most in (2, 3):  # once after the second training, once in the middle of the rest
            calls: list[int] = []

            def tiring(self: HeldOut, speaker: Any, calls: list[int] = calls, most: int = most) -> np.ndarray:
                calls.append(1)
                if len(calls) == most:
                    raise KeyboardInterrupt
                return losses(self, speaker)

            monkeypatch.setattr(HeldOut, "losses", tiring)
            with pytest.raises(KeyboardInterrupt):
                run_scale_law(photos, **arguments)
        monkeypatch.undo()
        trained: list[str] = []
        fit = stages.fit_stage
        monkeypatch.setattr(
            stages, "fit_stage", lambda *given, stage: trained.append(stage) or fit(*given, stage=stage)
        )
        told = run_scale_law(photos, **arguments)
        assert trained == ["96x3", "128x4"], "what was trained and judged before is not trained again"
        for name in ("sizes", "law", "foretold", "noise", "stream"):
            mine, theirs = told[name], whole[name]
            if name == "sizes":
                drop = ("seconds", "joules")
                mine, theirs = ([{k: v for k, v in one.items() if k not in drop} for one in some]
                                for some in (mine, theirs))  # fmt: skip
            assert mine == theirs


class TestTheSentences:
    def test_a_sentence_that_comes_again_is_counted(self) -> None:
        class Twice:
            def batch(self, step: int) -> Batch:
                codes = np.full((2, 4, 16), 3)
                codes[1] += step
                return {"tokens": torch.from_numpy(write_sentences(codes, GRAMMAR))}

        told = count_sentences(Twice(), GRAMMAR, 3, Log(quiet=True))
        assert told["sentences"] == 6 and told["repeated"] == 3  # the first row always, the second once the same
        assert told["views"] == 3 and told["reads_per_view"] == 8

    def test_the_smallest_is_trained_again_from_other_weights(self) -> None:
        members = members_of(replace(QUICK, sizes=("64x2", "32x2", "128x4", "96x3"), num_seeds=3), GRAMMAR, 0)
        assert [member.size for member in members] == ["32x2", "32x2", "32x2", "64x2", "96x3", "128x4"]
        first, second, third = (
            next(member.build(4, GRAMMAR).parameters()).detach().numpy().tobytes() for member in members[:3]
        )
        assert len({first, second, third}) == 3 and len({member.name for member in members}) == 6


def test_mistakes_are_told_in_one_sentence(
    photos: Path, codec: Part, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["scale-law", "--data", photos, "--tokenizer", codec.source, "--out", tmp_path / "o"]
    for extra, told in (
        (["--sizes", "32x2", "64x2", "96x3"], "at least 4"),
        (["--sizes", "32x2", "64x2", "96x3", "large"], "WIDTHxDEPTH"),
        (["--sizes", "32x2", "64x2", "96x3", "100x3"], "multiple of 32"),
        (["--sizes", "32x2", "64x2", "96x3", "128x4", "128x4"], "once"),
        (["--sizes", "32x2", "64x2", "128x4", "128x5"], "1.5 times"),
        (["--sizes", "32x2", "64x2", "96x3", "100000x100"], "weights take"),
        (["--sizes", "32x2", "64x2", "96x3", "128x1000"], "the depth lies between 1 and 200"),
        (["--tasks", "edgs"], "did you mean edges?"),
        (["--tasks", "frames"], "name another task"),
        (["--budget", "0"], "nothing is learned in no time"),
        (["--pictures", "5"], "even number"),
    ):
        assert main([*map(str, base), *extra]) == 2
        sentence = capsys.readouterr().err.strip().splitlines()
        assert len(sentence) == 1 and told in sentence[0]
        shutil.rmtree(tmp_path / "o", ignore_errors=True)
