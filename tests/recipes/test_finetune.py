"""Fine-tuning through the whole of `adapt`: kept only where validation prefers it, and then it is what is shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import random_network
from domains import make_domain
from pictures import draw, write_classes
from safetensors.torch import load_file

import beholder
from beholder.recipes.adapt import finetune as stage
from beholder.recipes.adapt.fit import Choice
from beholder.runtime.files import read_json
from beholder.runtime.log import Log
from beholder.train.readout import fit_readout

SMALL = {"budget": "0", "threads": 1, "resolutions": (64,), "labels": "auto"}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tiny_network: None) -> None:
    monkeypatch.setattr(stage, "_FEWEST_STEPS", 4)
    monkeypatch.setattr(stage, "_NUM_EPOCHS", 1)


@pytest.mark.parametrize("kind", ["low-rank", "full"])
def test_it_tells_what_it_did_and_keeps_what_validation_prefers(kind: str, short: None, tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", 64)
    results = beholder.adapt(photos, out=tmp_path / "run", finetune=kind, **SMALL)
    told = results["finetuning"]
    assert told["kind"] == kind and told["steps"] >= 4
    assert told["num_images"] + told["num_validation"] == results["data"]["split"]["train"]
    assert told["kept"] == (told["gain"] > 2 * told["error"])
    assert told["kept"] == ("fine-tuned" in results["verdict"]["shipped"])
    assert told["sentence"] in results["verdict"]["details"]
    assert {row["stage"] for row in results["cost"]["rows"]} >= {"fine-tuning"}
    assert f"--finetune {kind}" in results["command"]


def test_what_is_kept_is_what_the_model_answers_with(
    short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Choice, "is_sure", property(lambda self: True))
    photos = write_classes(tmp_path / "photos", 64)
    results = beholder.adapt(photos, out=tmp_path / "run", finetune="low-rank", **SMALL)
    assert results["finetuning"]["kept"] and "fine-tuned" in results["verdict"]["shipped"]
    tuned = random_network()
    tuned.load_state_dict(read_tensors(tmp_path / "run"))
    shipped = beholder.load(tmp_path / "run" / "model").model.embedder.backbones[-1]
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(shipped(pixels).summary, tuned.eval()(pixels).summary, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(random_network().eval()(pixels).summary, tuned(pixels).summary, atol=1e-3)
    generator = np.random.default_rng(5)
    answers = beholder.classify(tmp_path / "run" / "model", [draw(generator, index % 2) for index in range(10)])
    assert np.mean([one.label == ("across", "along")[index % 2] for index, one in enumerate(answers)]) >= 0.9


def read_tensors(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "finetuning.safetensors")


def test_a_killed_run_ends_with_the_same_weights(short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = write_classes(tmp_path / "photos", 64)
    beholder.adapt(photos, out=tmp_path / "whole", finetune="full", **SMALL)
    extract = stage.extract
    monkeypatch.setattr(stage, "extract", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        beholder.adapt(photos, out=tmp_path / "cut", finetune="full", **SMALL)
    monkeypatch.setattr(stage, "extract", extract)
    beholder.adapt(photos, out=tmp_path / "cut", finetune="full", **SMALL)
    assert all(
        torch.equal(value, read_tensors(tmp_path / "cut")[name])
        for name, value in read_tensors(tmp_path / "whole").items()
    )
    assert (
        read_json(tmp_path / "cut" / "results.json")["finetuning"]
        == read_json(tmp_path / "whole" / "results.json")["finetuning"]
    )


def test_too_few_labels_are_told_and_nothing_is_tuned(tiny_network: None, tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", 24)
    told: list[str] = []

    class Listener(Log):
        def warn(self, text: str) -> None:
            told.append(text)

    results = beholder.adapt(photos, out=tmp_path / "run", finetune="full", log=Listener(quiet=True), **SMALL)
    assert results["finetuning"] is None
    assert any("18 labelled training images are fewer than 40" in text for text in told)


@pytest.mark.parametrize(("num_groups", "reason"), [(8, "are 2, and fewer than 5 cannot judge it"), (40, None)])
def test_a_few_groups_cannot_judge_it(num_groups: int, reason: str | None) -> None:
    groups = [*(np.arange(80) // 2 % num_groups).tolist(), *range(100, 110)]
    domain = make_domain([0, 1] * 45, classes=("no", "yes"), groups=groups, test=range(80, 90))
    told = stage.obstacle(domain, seed=0)
    assert told == reason if reason is None else told is not None and reason in told


def test_labels_that_the_space_was_taught_do_not_flatter_its_head() -> None:
    """Half of the rows carry their own label as a feature; the left-out scores of the other half must not profit."""
    generator = np.random.default_rng(0)
    labels = np.arange(200) % 2
    rows = generator.normal(size=(200, 4))
    taught = np.arange(200) < 100
    rows[taught, 0] += 6.0 * (labels[taught] - 0.5)
    naive = fit_readout(rows, labels, np.arange(200), 2)
    honest = fit_readout(rows, labels, np.arange(200), 2, unseen=~taught)
    confidence = [float(one.left_out.max(1)[~taught].mean()) for one in (naive, honest)]
    accuracy = float((honest.left_out.argmax(1) == labels)[~taught].mean())
    assert abs(confidence[1] - accuracy) < 0.1 < confidence[0] - accuracy
