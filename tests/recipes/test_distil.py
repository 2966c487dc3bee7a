"""`distil`: the student says what the teacher says, at a part of the cost, and a resumed run repeats it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import CPU, random_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import write_classes

from beholder.cli.main import main
from beholder.data.augment import AugmentConfig, augment
from beholder.objectives.distillation import Distillation
from beholder.pretrained.bundle import Bundle, load_bundle
from beholder.recipes.distil.run import distil
from beholder.recipes.distil.settings import SIDES
from beholder.recipes.distil.student import as_projection, move_levels
from beholder.recipes.distil.views import cutting
from beholder.tasks.classify import classify
from beholder.train.closed_form import decompose, ridge
from beholder.types import UserError

CLASSES = ("across", "along")


@pytest.fixture(autouse=True)
def _one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beholder.runtime.device.usable_cores", lambda: 1)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distil") / "teacher"
    random_bundle(labels=CLASSES).save(folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("distil_photos") / "photos", 80)


def run(teacher: Path, photos: Path, out: Path, steps: int = 6, **changed: Any) -> dict[str, Any]:
    return distil(
        teacher, data=photos, out=out, student="tiny", labels="auto", budget=f"{steps} steps", views=120, batch_size=8,
        threads=1, **changed,
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(teacher: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("distilled") / "run"
    run(teacher, photos, out)
    return out


class TestRun:
    def test_the_student_is_a_model_folder_with_the_teacher_s_classes(self, finished: Path, photos: Path) -> None:
        student = load_bundle(finished / "model")
        assert student.labels == CLASSES and student.model.usual is not None
        assert student.model.config.embedder.resolutions == (SIDES["tiny"],)
        assert len(student.model.embedder.backbones) == 1
        answers = list(classify(student, sorted(photos.rglob("*.png"))[:3], CPU))
        assert all(one.label in CLASSES for one in answers)
        assert "accuracy" in (finished / "model" / "README.md").read_text()

    def test_it_is_nearer_to_the_teacher_than_the_mean_is(self, finished: Path) -> None:
        results = json.loads((finished / "results.json").read_text())
        assert results["loss_before"] < 1.2 and min(results["loss_before"], results["loss_after"]) < 1
        assert results["is_trained"] == (results["loss_after"] < results["loss_before"])
        assert results["num_pictures"] == 20 and len(results["accuracies"]) == 2

    def test_a_run_that_is_stopped_ends_with_the_same_weights(
        self, finished: Path, teacher: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Stopped(Exception):
            pass

        def stop(*_: Any) -> None:
            raise Stopped

        with monkeypatch.context() as patch:
            patch.setattr("beholder.recipes.distil.run.build_student", stop)
            with pytest.raises(Stopped):
                run(teacher, photos, tmp_path / "run")
        run(teacher, photos, tmp_path / "run")
        ours, theirs = (load_bundle(path / "model").model.state_dict() for path in (tmp_path / "run", finished))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    def test_another_setting_is_refused_in_the_same_folder(self, finished: Path, teacher: Path, photos: Path) -> None:
        with pytest.raises(UserError, match="finished"):
            run(teacher, photos, finished, steps=7)


def test_too_few_pictures_and_wrong_settings_are_told(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = write_classes(tmp_path / "few", 30)
    given_ = ["distil", str(teacher), "--data", str(few), "--out", str(tmp_path / "run")]
    assert main(given_) == 2
    assert "leaves 23 pictures to learn from, of 40 that are needed" in capsys.readouterr().err
    for changed, told in (
        (["--budget", "0"], "nothing is learned in no time"),
        (["--pictures", "3"], "give 40 pictures or more"),
        (["--batch-size", "0"], "--batch-size 0: give a number above 0"),
    ):
        assert main([*given_, *changed]) == 2
        assert told in capsys.readouterr().err


class TestObjective:
    def test_saying_the_mean_costs_one_and_the_truth_nothing(self) -> None:
        embeddings = torch.randn(4000, 5, generator=torch.Generator().manual_seed(0)) * 3 + 1
        objective = Distillation(embeddings, None)
        mean = embeddings.mean(0).expand_as(embeddings)
        assert float(objective.compare(mean, embeddings).total) == pytest.approx(1, abs=1e-3)
        assert float(objective.compare(embeddings, embeddings).total) == 0

    def test_the_teacher_s_head_judges_classes(self) -> None:
        head = random_bundle().model.head
        embeddings = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
        told = Distillation(embeddings, head).compare(embeddings, embeddings)
        assert told.parts["classes"] == pytest.approx(0, abs=1e-6)
        moved = Distillation(embeddings, head).compare(embeddings + 0.5, embeddings)
        assert moved.parts["classes"] > 0


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.integers(0, 99))
def test_the_map_of_least_squares_keeps_its_constant_as_a_projection(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(40, 12, generator=generator) * 2 + 3
    targets = features[:, :4] @ torch.randn(4, 3, generator=generator) + 7
    found = ridge(decompose(features, is_standardised=True), targets, 1e-8)
    assert torch.allclose(found(features).float(), targets, atol=1e-3)
    assert torch.allclose(as_projection(found)(features), targets, atol=1e-3)


def test_levels_follow_the_line_from_the_teacher_s_distances_to_the_student_s() -> None:
    student: Bundle = random_bundle()
    usual = student.model.usual
    assert usual is not None
    usual.mean.zero_()
    before = usual.levels.clone()
    right = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    move_levels(student, right * 0.5, right)  # all distances are halved
    assert torch.allclose(usual.levels, before * 0.5, atol=1e-4)


def test_views_go_to_the_student_as_the_teacher_saw_them() -> None:
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    still = AugmentConfig(size=16, crop_area=(1, 1), crop_ratio=(1, 1), horizontal_flip=0, jitter=0, grey=0, blur=0)
    seen = augment(images, still, torch.Generator().manual_seed(0))
    assert torch.allclose(seen, images.float() / 255 * 2 - 1, atol=1e-6)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_a_cutting_lies_within_its_picture(height: int, width: int, seed: int) -> None:
    picture = np.full((height, width, 3), 100, np.uint8)
    cut = cutting(picture, np.random.default_rng(seed))
    assert 0 < cut.shape[0] <= height and 0 < cut.shape[1] <= width and cut.shape[2] == 3
    assert cut.min() >= 79 and cut.max() <= 121
