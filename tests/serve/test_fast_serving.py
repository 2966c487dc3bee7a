"""`serve --backend`: the same answers from another way to run what sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import CPU, random_bundle
from pictures import write_classes
from serving import save_language, save_words

from beholder.cli.main import main
from beholder.pretrained.describer_folder import load_describer
from beholder.recipes.serve import Choice, open_all
from beholder.runtime.log import Log
from beholder.serve.served import Served, open_served
from beholder.tasks.image_encoder import Way
from beholder.types import UserError

IMAGES = [np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8) for seed in range(4)]
FAST = Way("packed", "fp32")


def points(served: Served) -> torch.Tensor:
    assert served.place_images is not None
    return served.place_images(IMAGES)


def test_an_adapted_model_says_the_same() -> None:
    plain, fast = open_served("solar", random_bundle(), CPU), open_served("solar", random_bundle(), CPU, FAST, IMAGES)
    assert "by packed in fp32" in fast.about and fast.abilities == plain.abilities
    assert torch.allclose(points(fast), points(plain), atol=1e-5)
    for ability in ("classify", "anomaly"):
        for one, other in zip(getattr(fast, ability)(IMAGES), getattr(plain, ability)(IMAGES), strict=True):
            assert one["label"] == other["label"] and one["score"] == pytest.approx(other["score"], abs=1e-4)


def test_what_speaks_of_images_sees_by_it(tmp_path: Path) -> None:
    model = load_describer(save_words(tmp_path / "captions", ("describe",)))
    talker = open_served("captions", model, CPU, FAST).talker
    assert talker is not None and talker.eye is not None


def test_the_way_is_tried_on_the_users_pictures_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = write_classes(tmp_path / "photos", 6)
    random_bundle().save(tmp_path / "solar")
    found = open_all([tmp_path / "solar"], CPU, Choice(way=FAST, examples=photos), Log())
    assert "by packed in fp32" in found[0].about and "packed" in capsys.readouterr().out


def test_what_only_writes_runs_as_ever_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_all([save_language(tmp_path / "writer")], CPU, Choice(way=FAST), Log())
    assert "writer runs as ever" in capsys.readouterr().out


def test_eight_bits_need_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random_bundle().save(tmp_path / "solar")
    assert main(["serve", str(tmp_path / "solar"), "--backend", "openvino", "--precision", "int8", "--port", "0"]) == 2
    assert "name some by --examples PHOTOS" in capsys.readouterr().err
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="none"):
        open_all([tmp_path / "solar"], CPU, Choice(way=Way("openvino", "int8"), examples=tmp_path / "none"), Log())


def test_how_far_it_may_differ_is_said_and_kept(tmp_path: Path) -> None:
    tight = Way("packed", "bf16", may_differ=1e-9)
    with pytest.raises(UserError, match="more than the 1e-09 allowed"):
        open_served("solar", random_bundle(), CPU, tight, IMAGES)
    random_bundle().save(tmp_path / "solar")
    with pytest.raises(UserError, match=r"solar by packed in bf16: .* or allow more by --may-differ"):
        open_all([tmp_path / "solar"], CPU, Choice(way=tight), Log(quiet=True))
    assert open_served("solar", random_bundle(), CPU, replace(tight, may_differ=0.5), IMAGES).place_images


@pytest.mark.parametrize(("given", "told"), [(["0"], "above 0"), (["0.2"], "is for --backend and --precision")])
def test_a_share_that_cannot_be_is_refused(given: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "embedded", "--may-differ", *given]) == 2
    assert told in capsys.readouterr().err
