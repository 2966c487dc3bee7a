"""`export`: every format says what the original says, runs without beholder, and is refused where it does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from bundles import CPU, random_bundle
from pictures import draw, write_classes
from PIL import Image
from towers import save_clip

from beholder.cli.main import main
from beholder.portable.check import compare
from beholder.portable.exportable import Exportable, open_exportable
from beholder.portable.formats import FORMATS, FormatName, open_export
from beholder.pretrained.load import load
from beholder.recipes.export import export
from beholder.tasks.classify import classify
from beholder.tasks.shared_space import open_space
from beholder.tasks.similarity import classify_by_name
from beholder.types import UserError

pytest.importorskip("openvino", reason="beholder[fast] is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
PAIRS: list[tuple[FormatName, Any]] = [
    (name, precision) for name, found in FORMATS.items() for precision in found.libraries
]
CLASSES = ("across", "along")
WITHOUT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {refused}:
            raise ImportError(name + " is not to be imported")
sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "model"
    random_bundle(labels=CLASSES, is_small=True).save(folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("export_photos") / "photos", 24)


def pictures(count: int, side: int) -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [draw(generator, number % 2, side) for number in range(count)]


@pytest.mark.parametrize(("name", "precision"), PAIRS)
def test_an_export_says_what_the_original_says(
    model: Path, photos: Path, tmp_path: Path, name: FormatName, precision: Any
) -> None:
    out = tmp_path / "out"
    if (name, precision) == ("openvino", "int8"):  # the others write a small network
        model = tmp_path / "whole"
        random_bundle(labels=CLASSES).save(model)
    found = export(
        model, format=name, precision=precision, data=photos, labels="auto", out=out, may_differ=0.5, may_lose=100,
        threads=1,
    )  # fmt: skip
    original = open_exportable(load(model), (), CPU)
    ask = open_export(out, 1)
    for count, side in ((1, 48), (3, 70)):
        given = pictures(count, side)
        comparison = compare(original.ask(given), ask(np.stack(given)), original.threshold)
        assert comparison.distance <= {"fp32": 0.02, "bf16": 0.1, "int8": 0.5}[precision]
    assert found["num_pictures"] == 6 and found["accuracies"] is not None
    assert json.loads((out / "check.json").read_text()) == json.loads(json.dumps(found))
    assert {"model.json", "model.py", "run.py", "README.md", "check.json"} <= {path.name for path in out.iterdir()}


def test_the_program_beside_it_needs_onnxruntime_and_numpy_alone(model: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(model, format="onnx", data=photos, out=out, threads=1)
    (picture,) = pictures(1, 48)
    np.save(tmp_path / "one.npy", picture)
    Image.fromarray(picture).save(tmp_path / "one.png")
    moved = tmp_path / "elsewhere"
    out.rename(moved)
    told = []
    for file, refused in (
        ("one.npy", {"beholder", "torch", "PIL", "onnx"}),
        ("one.png", {"beholder", "torch", "onnx"}),
    ):
        code = WITHOUT.format(refused=sorted(refused))
        command = [sys.executable, "-c", code, str(moved / "run.py"), str(tmp_path / file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout))
    for names in ([], ["gone.png"]):
        command = [sys.executable, str(moved / "run.py"), *names]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and done.stderr.startswith("Name pictures") and "Traceback" not in done.stderr
    (expected,) = classify(load(model), [picture], CPU)  # type: ignore[arg-type]
    for answer in told:
        assert answer["label"] == expected.label
        assert answer["score"] == pytest.approx(expected.score, abs=0.01)
        assert isinstance(answer["unusual"], bool)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_model_of_images_and_texts_becomes_a_classifier_of_names(
    photos: Path, tmp_path: Path, name: FormatName
) -> None:
    pytest.importorskip("tokenizers", reason="beholder[hub] is not installed")
    save_clip(tmp_path / "clip")
    names = ["a cat", "a dog"]
    export(tmp_path / "clip", format=name, data=photos, names=names, out=tmp_path / "out", threads=1)
    given = pictures(3, 60)
    shares = open_export(tmp_path / "out", 1)(np.stack(given))["probabilities"]
    space = open_space(load(tmp_path / "clip"), CPU)
    for answer, row in zip(classify_by_name(space, given, names), shares, strict=True):
        assert list(answer.details["probabilities"].values()) == pytest.approx(row.tolist(), abs=0.01)


@pytest.mark.parametrize(("name", "precision"), [("onnx", "int8"), ("openvino", "int8")])
def test_a_transformer_in_8_bits_stays_near(photos: Path, tmp_path: Path, name: FormatName, precision: Any) -> None:
    pytest.importorskip("tokenizers", reason="beholder[hub] is not installed")
    save_clip(tmp_path / "clip")
    found = export(tmp_path / "clip", format=name, precision=precision, data=photos, out=tmp_path / "out", threads=1)
    assert max(found["distances"].values()) < 0.1


def test_pictures_beyond_the_room_of_a_phones_file_are_averaged_in_blocks() -> None:
    pytest.importorskip("executorch", reason="beholder[phone] is not installed")
    from beholder.portable import executorch_file
    from beholder.portable.runners import executorch as runner

    assert runner.LONGEST == executorch_file.LONGEST
    large = np.random.default_rng(0).integers(0, 256, (2 * 1024 + 2, 31, 3), np.uint8)
    found = runner.fitting(large)
    assert found.shape == (683, 10, 3) and found.dtype == np.uint8
    assert np.abs(found[4, 7] - large[12:15, 21:24].mean((0, 1))).max() <= 0.5
    assert np.array_equal(runner.fitting(large[:1024]), large[:1024])


def test_it_is_refused_with_the_numbers_and_leaves_nothing(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    given = ["export", model, "--format", "program", "--precision", "bf16", "--data", photos, "--out", out]
    assert main([*map(str, given), "--may-differ", "1e-9", "--threads", "1"]) == 2
    told = capsys.readouterr().err
    assert "away from the original's" in told and "1e-09 allowed" in told and "Nothing was written" in told
    assert [path.name for path in tmp_path.iterdir()] == []


def test_an_export_that_loses_accuracy_is_refused(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Exportable.ask

    def right(self: Exportable, images: Any) -> Any:  # an original that is never wrong: stripes across are class 0
        said = plain(self, images)
        truth = [int(np.std(image.mean(1)) < np.std(image.mean(0))) for image in images]
        return {**said, "probabilities": np.eye(2, dtype=np.float32)[truth]}

    monkeypatch.setattr(Exportable, "ask", right)
    with pytest.raises(UserError, match=r"accuracy falls from 100\.0% to .* more than the 0\.5 allowed"):
        export(model, format="program", data=photos, labels="auto", out=tmp_path / "x", may_differ=9, threads=1)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"precision": "bf16"}, "--format onnx has no --precision bf16"),
        ({"format": "program", "precision": "int8"}, "--format program has no --precision int8"),
        ({"names": ["a", "b"]}, "has classes of its own"),
        ({"may_lose": -1.0}, "--may-lose -1: give points of accuracy from 0"),
        ({"may_lose": float("nan")}, "give points of accuracy from 0"),
        ({"may_differ": float("nan")}, "give a share above 0"),
        ({"labels": "other.csv"}, "round: not a class of this model, which has across, along"),
    ],
)
def test_what_cannot_be_is_told(model: Path, photos: Path, tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    if "labels" in changed:
        rows = "".join(f"{path.relative_to(photos)},round\n" for path in sorted(photos.rglob("*.png")))
        changed["labels"] = tmp_path / "other.csv"
        changed["labels"].write_text("path,label\n" + rows)
    given: dict[str, Any] = {"format": "onnx", "data": photos, "out": tmp_path / "out", "threads": 1}
    with pytest.raises(UserError, match=told):
        export(model, **{**given, **changed})
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_left_alone(model: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(UserError, match="is there already"):
        export(model, format="onnx", data=photos, out=tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "kept"


class TestComparison:
    original: ClassVar = {
        "embedding": np.array([[3.0, 4.0], [0.0, 0.0]]),
        "probabilities": np.array([[0.9, 0.1], [0.4, 0.6]]),
        "distance": np.array([1.0, 3.0]),
    }

    def test_equal_answers_differ_by_nothing(self) -> None:
        found = compare(self.original, self.original, 2.0, [0, 1])
        assert found.distance == 0 and (found.num_other_class, found.num_other_unusual) == (0, 0)
        assert found.accuracies == (1.0, 1.0) and found.points_lost == 0

    def test_distances_changes_and_points_are_counted(self) -> None:
        new = {
            "embedding": np.array([[3.0, 4.5], [0.0, 0.0]]),
            "probabilities": np.array([[0.9, 0.1], [0.7, 0.3]]),
            "distance": np.array([2.5, 3.0]),
        }
        found = compare(self.original, new, 2.0, [0, 1])
        assert found.distances["embedding"] == pytest.approx(0.1)
        assert (found.num_other_class, found.num_other_unusual) == (1, 1)
        assert found.accuracies == (1.0, 0.5) and found.points_lost == pytest.approx(50)

    def test_pictures_without_a_label_are_no_accuracy(self) -> None:
        assert compare(self.original, self.original, None, [None, 1]).accuracies == (1.0, 1.0)
        assert compare(self.original, self.original, None).accuracies is None
        assert compare(self.original, self.original, None).num_other_unusual is None
