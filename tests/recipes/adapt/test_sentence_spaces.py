"""Features of visual sentences in `adapt`: judged beside the others, never shipped, and honest about what they saw."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from domains import make_domain
from pictures import draw, write_classes
from sentences import save_codec, save_lvm

import beholder
from beholder.data.fingerprint import content_hash
from beholder.pretrained.part_folder import Part
from beholder.recipes.adapt.sentences import overlap_of
from beholder.types import UserError

SMALL = {"budget": "2 steps", "threads": 1, "resolutions": (64,)}


@pytest.fixture(scope="module")
def lvm(tmp_path_factory: pytest.TempPathFactory) -> Part:
    folder = tmp_path_factory.mktemp("parts")
    return save_lvm(folder / "lvm", save_codec(folder / "codec", num_steps=30))


@pytest.fixture(scope="module")
def run(lvm: Part, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("adapt")
    write_classes(folder / "photos", 40)
    return folder, beholder.adapt(folder / "photos", out=folder / "run", labels="auto", lvm=lvm.source, **SMALL)


@pytest.mark.slow
def test_both_spaces_stand_in_the_curve_and_in_the_report(run: tuple[Path, dict[str, Any]]) -> None:
    folder, results = run
    arms = {arm["name"]: arm for arm in results["curve"]["arms"]}
    assert arms["sentences"]["kind"] == arms["generic + sentences"]["kind"] == "sentences"
    assert len(arms["sentences"]["values"]) == len(arms["generic"]["values"])
    page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    assert "Generic + sentences" in page and "never shipped" in page and "Features of visual sentences" in page
    assert "--lvm" in results["command"]
    assert {"sentence features"} <= {row["stage"] for row in results["cost"]["rows"] if row["estimated_seconds"]}


@pytest.mark.slow
def test_what_is_shipped_and_judged_is_the_same_without_them(run: tuple[Path, dict[str, Any]]) -> None:
    folder, results = run
    without = beholder.adapt(folder / "photos", out=folder / "without", labels="auto", **SMALL)
    assert without["sentences"] is None and results["sentences"] is not None
    assert results["verdict"] == without["verdict"] and results["score"] == without["score"]
    own = [arm for arm in results["curve"]["arms"] if arm["kind"] != "sentences"]
    assert own == without["curve"]["arms"]
    one, other = ((folder / name / "model" / "model.safetensors").read_bytes() for name in ("run", "without"))
    assert one == other


@pytest.mark.slow
def test_a_model_that_tells_nothing_of_its_pictures_is_not_trusted(run: tuple[Path, dict[str, Any]]) -> None:
    told = run[1]["sentences"]
    assert not told["overlap"]["is_known"] and "may flatter" in told["sentences"][-1]
    assert told["space"] == "generic + sentences"


class TestOverlap:
    def known(self, lvm: Part, rows: list[int], tasks: list[str]) -> tuple[Any, Part]:
        generator = np.random.default_rng(0)
        images = [draw(generator, place % 2) for place in range(12)]
        domain = make_domain([0, 1] * 6, classes=("a", "b"), test=[8, 9, 10, 11], images=images)
        learned = [content_hash(domain.samples[row]) for row in rows]
        return domain, replace(lvm, facts={"pictures": {"learned": learned, "held_out": []}, "tasks": tasks})

    def test_pictures_that_train_are_no_leak(self, lvm: Part) -> None:
        told = overlap_of(*self.known(lvm, [0, 1, 7], ["plain"]))
        assert told["num_learned"] == 0 and told["num_judged"] == 4 and "none of the 4" in told["sentence"]

    def test_judged_pictures_that_were_learned_from_are_counted(self, lvm: Part) -> None:
        told = overlap_of(*self.known(lvm, [0, 9, 11], ["plain", "edges"]))
        assert told["num_learned"] == 2
        assert "2 of the 4 judged images, without their labels: its scores flatter" in told["sentence"]

    def test_labels_that_were_learned_from_are_named(self, lvm: Part) -> None:
        told = overlap_of(*self.known(lvm, [9], ["plain", "classes", "masks"]))
        assert "with their classes and their masks" in told["sentence"]


def test_train_lvm_tells_its_pictures_by_their_content(tmp_path: Path) -> None:
    content = b"\x89PNG of some kind"
    (tmp_path / "a.png").write_bytes(content)
    (tmp_path / "b.png").write_bytes(content)
    one, other = (beholder.types.Sample(name, tmp_path / name) for name in ("a.png", "b.png"))
    assert content_hash(one) == content_hash(other) == content_hash(beholder.types.Sample("c", data=content))
    assert content_hash(beholder.types.Sample("c", data=content + b".")) != content_hash(one)


def test_mistakes_are_told(lvm: Part, tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", 24)
    with pytest.raises(UserError, match="--labels"):
        beholder.adapt(photos, out=tmp_path / "o", lvm=lvm.source, **SMALL)
    with pytest.raises(UserError, match="no model lies there"):
        beholder.adapt(photos, out=tmp_path / "o", labels="auto", lvm=tmp_path, **SMALL)
    with pytest.raises(UserError, match="visual sentences"):
        beholder.adapt(photos, out=tmp_path / "o", labels="auto", lvm=lvm.need_codec().source, **SMALL)
    assert not (tmp_path / "o").exists()


def test_another_model_cannot_go_on(lvm: Part, tmp_path: Path) -> None:
    photos, out = write_classes(tmp_path / "photos", 24), tmp_path / "o"
    model = save_lvm(tmp_path / "lvm", lvm.need_codec())
    arguments = {"out": out, "labels": "auto", "lvm": model.source, **SMALL}
    with pytest.raises(UserError, match="normal"):
        beholder.adapt(photos, normal="nobody", **arguments)
    recipe = json.loads((out / "recipe.json").read_text())
    assert recipe["sentences"] == model.fingerprint
    save_lvm(tmp_path / "lvm", lvm.need_codec(), seed=7)
    with pytest.raises(UserError, match="other weights"):
        beholder.adapt(photos, normal="nobody", **arguments)
