"""The whole of `adapt` on small pictures: what it writes, what the model does, and what a kill changes (nothing)."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pictures import draw, write_classes
from PIL import Image

import beholder
from beholder.runtime.files import read_json
from beholder.types import UserError

SMALL = {"budget": "3 steps", "threads": 1, "resolutions": (64,)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapt")
    photos = write_classes(folder / "photos", 64)
    (photos / "across" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n then nothing")
    (photos / "along" / "words.jpg").write_text("not a picture")
    beholder.adapt(photos, out=folder / "run", labels="auto", **SMALL)
    return folder / "run"


def test_it_writes_results_report_model_and_quarantine(run: Path) -> None:
    results = read_json(run / "results.json")
    assert results["data"]["num_kept"] == 64
    assert results["verdict"]["outcome"] in ("helped", "hurt", "no difference")
    assert {arm["kind"] for arm in results["curve"]["arms"]} == {"trivial", "last layer", "generic", "adapted"}
    refused = [json.loads(line)["key"] for line in (run / "quarantine.jsonl").read_text().splitlines()]
    assert sorted(refused) == ["across/broken.png", "along/words.jpg"]
    page = (run / "report.html").read_text()
    assert results["data"]["description"] in page
    assert sorted(path.name for path in (run / "model").iterdir()) == [
        "README.md",
        "config.json",
        "labels.json",
        "model.safetensors",
        "preprocess.json",
    ]
    assert not (run / "scratch").exists()


def test_every_stage_has_a_cost_with_a_source(run: Path) -> None:
    rows = read_json(run / "results.json")["cost"]["rows"]
    assert {"read and curate", "features", "pretraining", "curve", "report"} <= {row["stage"] for row in rows}
    assert all(row["seconds"] >= 0 and row["joules_source"] for row in rows)


def test_the_model_knows_new_pictures(run: Path) -> None:
    generator = np.random.default_rng(99)
    images = [draw(generator, index % 2) for index in range(10)]
    answers = beholder.classify(run / "model", images)
    right = [answer.label == ("across", "along")[index % 2] for index, answer in enumerate(answers)]
    assert np.mean(right) >= 0.9
    assert all(abs(sum(answer.details["probabilities"].values()) - 1) < 1e-5 for answer in answers)


def test_the_model_tells_unusual_pictures(run: Path) -> None:
    generator = np.random.default_rng(98)
    odd = generator.integers(0, 256, (6, 48, 48, 3), dtype=np.uint8)
    answers = beholder.anomaly(beholder.load(run), [*odd])
    assert [answer.label for answer in answers] == ["unusual"] * 6
    assert all(answer.details["p_value"] <= answer.details["false_alarm_rate"] for answer in answers)


def test_an_unreadable_input_is_refused_and_the_others_are_answered(run: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    Image.fromarray(draw(np.random.default_rng(0), 0)).save(tmp_path / "b.png")
    first, second = beholder.classify(run / "model", [tmp_path / "a.png", tmp_path / "b.png"])
    assert first.refused
    assert first.label is None
    assert second.label in ("across", "along")


def test_a_finished_run_is_refused(run: Path) -> None:
    with pytest.raises(UserError, match="finished run"):
        beholder.adapt(run.parent / "photos", out=run, labels="auto", **SMALL)


def test_without_labels_the_verdict_is_about_embeddings(tmp_path: Path) -> None:
    write_classes(tmp_path / "photos", 64)
    results = beholder.adapt(tmp_path / "photos", out=tmp_path / "run", **SMALL)
    assert "curve" not in results
    assert results["verdict"]["metric"] == "view consistency"
    assert results["verdict"]["shipped"] == "generic"
    with pytest.raises(UserError, match="made without labels"):
        beholder.classify(tmp_path / "run" / "model", [])
    assert beholder.anomaly(tmp_path / "run" / "model", [draw(np.random.default_rng(0), 0)])[0].score is not None


@pytest.mark.parametrize(("backbone", "objective"), [("vit", "masked"), ("conv", "teacher")])
def test_other_backbones_and_objectives_go_the_same_way(backbone: str, objective: str, tmp_path: Path) -> None:
    write_classes(tmp_path / "photos", 40)
    results = beholder.adapt(
        tmp_path / "photos", out=tmp_path / "run", labels="auto", backbone=backbone, objective=objective, **SMALL
    )  # type: ignore[arg-type]
    assert results["training"]["backbone"] == backbone and results["training"]["objective"] == objective
    assert beholder.classify(tmp_path / "run" / "model", [draw(np.random.default_rng(0), 0)])[0].label


def weights(run: Path) -> str:
    return hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()


COMMAND = (
    "import sys, beholder, diets; diets.eat_little(); beholder.adapt(sys.argv[1], out=sys.argv[2], labels='auto', "
    "budget='12 steps', threads=1, resolutions=(64,))"
)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_with_the_same_bits(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", 40)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", COMMAND, photos, whole], check=True, env=environment)
    length = time.monotonic() - began
    for share in (0.4, 0.65):
        with subprocess.Popen([sys.executable, "-c", COMMAND, photos, killed], env=environment) as process:
            try:
                process.wait(length * share)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
    if not (killed / "results.json").exists():
        subprocess.run([sys.executable, "-c", COMMAND, photos, killed], check=True, env=environment)
    assert weights(killed) == weights(whole)
    same = ("curve", "score", "verdict", "labels_saved")
    first, second = read_json(whole / "results.json"), read_json(killed / "results.json")
    assert {key: first[key] for key in same} == {key: second[key] for key in same}
