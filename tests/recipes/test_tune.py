"""Tuning a small CLIP that knows colours to tell light from dark: what is told is what is shipped, and no model is
shipped that is worse on both."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import CPU, random_bundle
from safetensors.torch import load_file
from tuning import COLOURS, save_knowing_clip, write_general, write_own, write_own_texts

import beholder
from beholder.cli.main import main
from beholder.data.decode import Limits
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.recipes.pair_source import read_pairs
from beholder.recipes.tune import learn as stage
from beholder.recipes.tune import run as order
from beholder.recipes.tune.blend import Blends
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.tasks.shared_space import open_space
from beholder.train.loop import train
from beholder.types import Losses, UserError

pytestmark = pytest.mark.slow
WILD = 2e-2
"""A learning rate at which what was known is soon forgotten."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    save_knowing_clip(folder)
    write_general(folder / "general")
    write_own(folder / "own")
    write_own_texts(folder / "texts")
    (folder / "own" / "light" / "broken.png").write_text("no picture")
    return folder


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_FEWEST_STEPS", 25)


def tune(place: Path, out: Path, **options: Any) -> dict[str, Any]:
    usual = {"data": place / "own", "guard": place / "general", "device": "cpu", "threads": 1}
    return beholder.tune(place / "knowing", out=out, **{**usual, **options})


@pytest.fixture(scope="module")
def run(place: Path) -> tuple[Path, dict[str, Any]]:
    results = tune(place, place / "run", lr=5e-3, steps=30)
    return place / "run", results


@pytest.fixture(scope="module")
def wild(place: Path) -> dict[str, Any]:
    return tune(place, place / "wild", lr=WILD, steps=30)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def is_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class TestRun:
    def test_it_says_what_it_did(self, run: tuple[Path, dict[str, Any]]) -> None:
        folder, results = run
        assert json.loads((folder / "results.json").read_text()) == json.loads(json.dumps(results))
        assert "not an image" in (folder / "quarantine.jsonl").read_text()
        assert results["tuning"]["steps"] == 30 and len(results["tuning"]["losses"]) == 30
        assert results["data"]["num_train"] + results["data"]["num_validation"] + results["data"]["num_test"] == 100
        assert results["guard"]["num_train"] == 0
        assert "--steps 30" in results["command"]
        card = (folder / "model" / "README.md").read_text()
        assert results["verdict"]["sentence"] in card and "Licence" in card

    def test_what_is_shipped_answers_as_was_told(self, run: tuple[Path, dict[str, Any]], place: Path) -> None:
        """Asked again through the public function, from the files, about the very images of the test part."""
        folder, results = run
        with RunFolder.open(place / "again", {}) as again:
            source = read_pairs(again, place / "general", Limits(), CPU, 0, Log(quiet=True), is_guard=True)
        samples = [source.samples[row] for row in source.rows("test")]
        paths = [one.path for one in samples if one.path is not None]
        answers = beholder.classify(folder / "model", paths, "cpu", labels=sorted(COLOURS), threads=1)
        shares = [
            np.mean([one.label == name for one, sample in zip(answers, samples, strict=True) if sample.label == name])
            for name in COLOURS
        ]
        assert np.mean(shares) == pytest.approx(results["general"]["shipped"]["value"])

    def test_the_model_is_before_plus_its_share(self, run: tuple[Path, dict[str, Any]], place: Path) -> None:
        folder, results = run
        share = results["shipped"]["share"]
        assert share > 0
        before, after = load_file(place / "knowing" / "model.safetensors"), weights(folder)
        changed = [name for name in before if not torch.equal(before[name], after[name])]
        assert any(name.startswith("text_model") for name in changed)
        assert any(name.startswith("vision_model") for name in changed)
        assert not any("norm" in name or "bias" in name or "logit" in name for name in changed)
        ranks = [int(torch.linalg.matrix_rank((after[name] - before[name]).flatten(1), atol=1e-5)) for name in changed]
        assert 1 <= max(ranks) <= 8

    def test_it_opens_in_transformers(self, run: tuple[Path, dict[str, Any]]) -> None:
        from transformers import CLIPModel

        folder, _ = run
        theirs = CLIPModel.from_pretrained(folder / "model").eval()
        loaded = beholder.load(folder)
        assert isinstance(loaded, Foreign)
        space = open_space(loaded, CPU)
        tokens, pixels = loaded.need_words().encode(["a photo of a red."]), torch.randn(2, 3, 24, 24)
        with torch.no_grad():
            image = theirs.get_image_features(pixel_values=pixels).pooler_output
            text = theirs.get_text_features(input_ids=tokens.numbers).pooler_output
            torch.testing.assert_close(
                torch.nn.functional.normalize(image, dim=1), space.model.encode_images(pixels), rtol=1e-4, atol=1e-5
            )
            torch.testing.assert_close(
                torch.nn.functional.normalize(text, dim=1),
                space.model.encode_texts(tokens.numbers),
                rtol=1e-4,
                atol=1e-5,
            )

    def test_a_finished_run_is_not_written_over(self, run: tuple[Path, dict[str, Any]], place: Path) -> None:
        with pytest.raises(UserError, match="holds a finished run"):
            tune(place, run[0], lr=5e-3, steps=30)


class TestForgetting:
    def test_without_a_blend_it_forgets_and_with_one_it_does_not(self, wild: dict[str, Any]) -> None:
        own, general = wild["own"], wild["general"]
        assert general["change_tuned"]["interval"][1] < -0.2
        is_worse = [one["shipped"]["value"] < one["before"]["value"] for one in (own, general)]
        assert not all(is_worse)
        assert (
            own["shipped"]["value"] + general["shipped"]["value"] >= own["tuned"]["value"] + general["tuned"]["value"]
        )

    def test_shipped_is_the_best_sum_on_the_validation_parts(self, wild: dict[str, Any]) -> None:
        blend = wild["blend"]
        sums = [own + general for own, general in zip(blend["own"], blend["general"], strict=True)]
        assert sums[blend["shares"].index(blend["chosen"])] == pytest.approx(max(sums))

    def test_who_may_lose_all_gets_the_best_of_the_own(self, place: Path, tmp_path: Path) -> None:
        blend = tune(place, tmp_path / "run", lr=WILD, steps=20, may_lose=100)["blend"]
        assert blend["own"][blend["shares"].index(blend["chosen"])] == max(blend["own"])

    def test_a_model_that_is_worse_on_both_is_not_returned(
        self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Validation that praises what the test parts do not, about two sets that the first model knows."""
        monkeypatch.setattr(Blends, "choose", lambda self, may_lose: 1.0)
        monkeypatch.setattr(order, "learn", _spoil)
        results = tune(place, tmp_path / "run", data=write_general(tmp_path / "own", 100, seed=5))
        assert results["shipped"] == {"share": 0.0, "vetoed": 1.0}
        assert results["own"]["shipped"] == results["own"]["before"]
        assert "as it was" in results["verdict"]["sentence"]
        assert is_same(weights(tmp_path / "run"), load_file(place / "knowing" / "model.safetensors"))


def _spoil(session: Any, tunable: Any, learned: Any, steps: int) -> dict[str, Any]:
    """A model that takes every image for another text than it would."""
    plain = dict(tunable.learning.named_parameters())
    with torch.no_grad():
        before = plain["image.projection.parametrizations.weight.original"]
        update = dict(tunable.learning.named_modules())["image.projection.parametrizations.weight.0"]
        left, sizes, right = torch.linalg.svd(-2 * before, full_matrices=False)
        update.up.copy_((left * sizes)[:, :8])
        update.down.copy_(right[:8])
    return {"steps": 1, "num_images": len(learned.pixels), "batch_size": 32, "stopped": None}


class TestTrouble:
    def test_an_interrupted_run_ends_with_the_same_bits(
        self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tune(place, tmp_path / "whole", lr=5e-3, steps=12)
        monkeypatch.setattr(stage, "make_plan", _plan_that_saves_always)

        def cut(*given: Any, on_step: Any, **named: Any) -> Any:
            def stop(report: Any) -> None:
                on_step(report)
                if report.step == 6:
                    raise KeyboardInterrupt

            return train(*given, on_step=stop, **named)

        monkeypatch.setattr(stage, "train", cut)
        with pytest.raises(KeyboardInterrupt):
            tune(place, tmp_path / "cut", lr=5e-3, steps=12)
        monkeypatch.setattr(stage, "train", train)
        monkeypatch.setattr(order, "judge", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            tune(place, tmp_path / "cut", lr=5e-3, steps=12)
        monkeypatch.undo()
        results = tune(place, tmp_path / "cut", lr=5e-3, steps=12)
        assert is_same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
        whole = json.loads((tmp_path / "whole" / "results.json").read_text())
        assert results["own"] == whole["own"] and results["tuning"]["losses"] == whole["tuning"]["losses"]

    def test_a_loss_that_is_no_number_keeps_the_first_model(
        self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Broken(stage.Contrastive):
            def forward(self, model: Any, batch: Any) -> Losses:
                losses = super().forward(model, batch)
                return Losses(losses.total * float("nan"), losses.parts)

        monkeypatch.setattr(stage, "make_objective", lambda *_: Broken())
        monkeypatch.setattr(order, "time_a_step", lambda *_: 0.1)
        results = tune(place, tmp_path / "run")
        assert results["shipped"]["share"] == 0 and "diverged" in results["tuning"]["stopped"]
        assert "as it was" in results["verdict"]["sentence"] and "diverged" in results["verdict"]["aside"]
        assert is_same(weights(tmp_path / "run"), load_file(place / "knowing" / "model.safetensors"))

    def test_without_a_guard_it_says_that_loss_is_not_known(
        self, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["tune", place / "knowing", "--data", place / "texts", "--out", tmp_path / "run", "--steps", "20"]
        assert main([*map(str, words), "--threads", "1"]) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert "without --guard, a folder of general images, it is not known what is forgotten" in told
        results = json.loads((tmp_path / "run" / "results.json").read_text())
        assert results["general"] is None and results["own"]["metric"] == "mean recall"
        assert "not known what is forgotten" in results["verdict"]["aside"]
        page = (tmp_path / "run" / "report.html").read_text()
        assert "no guard set" in page and "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")

    def test_a_folder_that_changed_meanwhile_is_noticed(
        self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = write_own(tmp_path / "own")
        monkeypatch.setattr(order, "learn", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            tune(place, tmp_path / "run", data=own)
        (own / "light" / "000.png").unlink()
        with pytest.raises(UserError, match="has changed since"):
            tune(place, tmp_path / "run", data=own)


def _interrupt(*_: Any) -> Any:
    raise KeyboardInterrupt


_make_plan = stage.make_plan


def _plan_that_saves_always(*given: Any) -> Any:
    return replace(_make_plan(*given), checkpoint_every_seconds=0.0)


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"rank": 0}, "--rank 0: a low-rank update has a rank of at least 1"),
            ({"steps": 0}, "--steps 0"),
            ({"lr": 0.0}, "--lr 0"),
            ({"lr": float("nan")}, "--lr nan"),
            ({"may_lose": -1.0}, "--may-lose -1"),
            ({"may_lose": 1.0, "guard": None}, "name one with --guard"),
            ({"guard": "own"}, "is the --data folder itself"),
            ({"guard": "own/light"}, "--guard lies in --data"),
            ({"data": "general/red"}, "--data lies in --guard"),
            ({"data": "nowhere"}, "does not exist"),
            ({"out": "own/run"}, "lies in"),
            ({"out": "general/run"}, "lies in"),
        ],
    )
    def test_slips(self, place: Path, tmp_path: Path, options: dict[str, Any], said: str) -> None:
        named = {name: place / value if isinstance(value, str) else value for name, value in options.items()}
        with pytest.raises(UserError, match=said):
            tune(place, **{"out": tmp_path / "run", **named})

    def test_data_that_says_nothing_of_its_images(self, place: Path, tmp_path: Path) -> None:
        bare, one = tmp_path / "bare", tmp_path / "one"
        bare.mkdir()
        for number, path in enumerate((place / "own").rglob("0*.png")):
            (bare / f"{number}.png").write_bytes(path.read_bytes())
        with pytest.raises(UserError, match="neither texts nor classes"):
            tune(place, tmp_path / "a", data=bare)
        write_own(one)
        for path in (one / "dark").iterdir():
            path.rename(one / "light" / f"d{path.name}")
        (one / "dark").rmdir()
        with pytest.raises(UserError, match=r"neither texts nor classes|one class only"):
            tune(place, tmp_path / "b", data=one)

    def test_too_few_images(self, place: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="at least 20 are needed"):
            tune(place, tmp_path / "a", data=write_own(tmp_path / "own", 60))
        with pytest.raises(UserError, match="at least 20 are needed"):
            tune(place, tmp_path / "b", guard=write_general(tmp_path / "few", 24))

    def test_a_model_that_is_none_of_images_and_texts(self, place: Path, tmp_path: Path) -> None:
        random_bundle().save(tmp_path / "model")
        with pytest.raises(UserError, match="reads no texts"):
            beholder.tune(tmp_path / "model", data=place / "own", out=tmp_path / "run", threads=1)
        assert not (tmp_path / "run").exists()
