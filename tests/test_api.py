"""The public functions: there when asked for, light until then, and of one mind with the command line."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import random_bundle
from pictures import draw, write_classes
from PIL import Image

import beholder
from beholder.cli.main import VERBS, main
from beholder.types import Answer, UserError

NAMED_APART = (
    "classify", "anomaly", "similarity", "describe", "answer", "complete", "generate", "inpaint", "edit", "train",
    "evaluate", "serve", "label",
)  # fmt: skip
RECIPES_ONLY = {"train", "evaluate", "serve", "label"}
"""`beholder.evaluate` and `beholder.serve` are packages, and the last two need the extra `serve`: their functions are
those of the recipes."""
FUNCTIONS = sorted(name for name in beholder.__all__ if name[0].islower())


@pytest.fixture(autouse=True)
def _one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beholder.runtime.device.usable_cores", lambda: 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api") / "model"
    random_bundle().save(folder)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = write_classes(tmp_path / "photos", 4)
    (folder / "across" / "words.png").write_text("no picture")
    return folder


def values(answers: list[Answer]) -> list[tuple[Any, ...]]:
    return [(one.label, one.score, one.details, one.refused) for one in answers]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def loads_none_of(heavy: str, code: str) -> None:
    """In a Python of its own."""
    check = f"import sys\n{code}\nassert not (loaded := set({heavy.split()}) & set(sys.modules)), loaded"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class TestNames:
    def test_importing_the_package_loads_nothing_heavy(self) -> None:
        loads_none_of(
            "torch numpy scipy sklearn PIL rich cyclopts safetensors",
            "import beholder; beholder.__version__; dir(beholder)\n"
            "own = [name for name in sys.modules if name.startswith('beholder.') and name != 'beholder.version']\n"
            "assert not own, own\n"
            "assert issubclass(beholder.UserError, ValueError); beholder.Answer",
        )

    def test_asking_a_finished_model_loads_no_library_of_training(self) -> None:
        loads_none_of(
            "sklearn pandas torch._dynamo transformers fastapi",
            "import beholder.pretrained.load, beholder.tasks.classify, beholder.tasks.talk",
        )

    def test_recipes_of_picture_codes_load_no_library_of_adapt(self) -> None:
        loads_none_of(
            "sklearn scipy.stats pandas torch._dynamo transformers",
            "from beholder.recipes import lvm, masked, text_to_image, tokenizer",
        )

    def test_every_name_is_listed_and_there(self) -> None:
        assert dir(beholder) == sorted(beholder.__all__)
        assert beholder.__version__
        assert {verb.replace("-", "_") for verb in VERBS} - RECIPES_ONLY | {"load", "export_to_huggingface"} == {
            *FUNCTIONS
        }

    def test_the_nouns_are_those_that_the_functions_use(self) -> None:
        assert beholder.UserError is UserError
        assert beholder.Answer is Answer

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_every_function_tells_what_it_does_and_names_its_types(self, name: str) -> None:
        function = getattr(beholder, name)
        assert len(inspect.getdoc(function) or "") > 40
        signature = inspect.signature(function)
        assert signature.return_annotation is not signature.empty
        assert all(one.annotation is not one.empty for one in signature.parameters.values())

    def test_another_name_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match="'beholder' has no attribute 'clasify'"):
            beholder.clasify  # noqa: B018

    @pytest.mark.parametrize("verb", [verb.replace("-", "_") for verb in VERBS if verb not in NAMED_APART])
    def test_a_function_and_its_verb_have_the_same_arguments_and_defaults(self, verb: str) -> None:
        """Those of the others differ in how images and texts are named."""
        module = __import__(f"beholder.cli.{verb}", fromlist=[verb])
        known = inspect.signature(getattr(beholder, verb)).parameters
        spoken = inspect.signature(getattr(module, verb)).parameters
        assert {*known} - {"log"} == {*spoken} - {"json"}
        assert all(known[name].default == spoken[name].default for name in {*known} - {"log"})


@pytest.mark.parametrize("verb", ["classify", "anomaly"])
class TestAnswers:
    def test_a_path_a_text_and_a_loaded_model_answer_alike(self, verb: str, model: Path, photos: Path) -> None:
        ask, images = getattr(beholder, verb), [photos / "across" / "0000.png", photos / "along" / "0001.png"]
        first = ask(model, images)
        assert len({one.score for one in first}) == 2
        assert ask(str(model), images) == first
        assert ask(beholder.load(model), images) == first

    def test_one_image_may_be_given_as_it_is(self, verb: str, model: Path, photos: Path) -> None:
        """A text is a path, not a list of letters; an array is an image, not a list of rows."""
        ask, path = getattr(beholder, verb), photos / "across" / "0000.png"
        expected = ask(model, [path])
        pixels = np.asarray(Image.open(path).convert("RGB"))
        for image in (path, str(path), Image.open(path), pixels, [pixels], pixels[None], (str(path),), iter([path])):
            assert values(ask(model, image)) == values(expected)

    def test_a_folder_stands_for_its_images(self, verb: str, model: Path, photos: Path) -> None:
        ask = getattr(beholder, verb)
        paths = sorted(photos.rglob("*.png"))
        assert ask(model, photos) == ask(model, [str(photos)]) == ask(model, paths)
        assert [one.key for one in ask(model, [photos])] == [str(path) for path in paths]

    def test_no_image_gives_no_answer(self, verb: str, model: Path) -> None:
        assert getattr(beholder, verb)(model, []) == []

    def test_the_command_line_says_the_same(
        self, verb: str, model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (photos / "along" / "dangling.png").symlink_to(photos / "nowhere.png")
        inputs = [photos / "along" / "0001.png", photos, photos / "none.png"]
        answers = getattr(beholder, verb)(model, inputs)
        expected = [
            {"key": one.key, "refused": one.refused}
            if one.refused
            else {"key": one.key, "label": one.label, "score": one.score, **one.details}
            for one in answers
        ]
        assert printed(capsys, verb, model, *inputs) == expected
        refused = {one["key"]: one["refused"] for one in expected if "refused" in one}
        assert refused == {
            str(photos / "across" / "words.png"): "not an image (text file?)",
            str(photos / "along" / "dangling.png"): "dangling link",
            str(photos / "none.png"): "no such file",
        }
        assert len(expected) == 1 + 6 + 1

    def test_many_images_are_answered_like_single_ones(self, verb: str, model: Path) -> None:
        """More than one batch: the order holds and neighbours do not matter."""
        ask, generator = getattr(beholder, verb), np.random.default_rng(3)
        images = [draw(generator, index % 3, side=24) for index in range(18)]
        bundle = beholder.load(model)
        together, alone = ask(bundle, images), [ask(bundle, image)[0] for image in images]
        assert [one.label for one in together] == [one.label for one in alone]
        assert [one.score for one in together] == pytest.approx([one.score for one in alone], rel=1e-4)


@pytest.mark.parametrize("verb", ["classify", "anomaly"])
def test_the_size_limit_and_the_number_of_threads_are_kept(
    verb: str, model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("beholder.runtime.device.usable_cores", lambda: 2)
    path, before = photos / "across" / "0000.png", torch.get_num_threads()
    (answer,) = getattr(beholder, verb)(model, path, threads=1, max_pixels=48 * 48 - 1)
    assert answer.refused == "48 x 48 pixels; the limit is 2,303 (--max-pixels)"
    (answer,) = getattr(beholder, verb)(model, path, threads=1, max_pixels=48 * 48)
    assert answer.refused is None
    assert torch.get_num_threads() == 1
    assert main([verb, str(model), str(path), "--threads", "1", "--max-pixels", "9"]) == 2
    told = capsys.readouterr()
    assert "the limit is 9 (--max-pixels)" in told.out
    assert told.err == "beholder: Nothing could be told of the image; the reason stands above.\n"
    torch.set_num_threads(before)


def test_an_empty_text_and_a_folder_without_images_are_told(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is empty"):
        beholder.classify(model, tmp_path / "empty")
    (answer,) = beholder.classify(model, "x" * 5000)
    assert answer.refused


def test_a_model_without_classes_or_levels_says_so(tmp_path: Path) -> None:
    random_bundle(labels=(), num_levels=0).save(tmp_path / "model")
    with pytest.raises(UserError, match="made without labels"):
        beholder.classify(tmp_path / "model", [])
    with pytest.raises(UserError, match="too few normal images"):
        beholder.anomaly(tmp_path / "model", [])


def test_curate_and_pick_take_texts_and_agree_with_the_command_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write_classes(tmp_path / "photos", 8)
    counts = beholder.curate(str(photos), out=str(tmp_path / "a"), labels="auto", threads=1)
    (*_, told) = printed(capsys, "curate", photos, "--out", tmp_path / "b", "--labels", "auto", "--threads", "1")
    assert told == counts
    kept = [(tmp_path / name / "kept.csv").read_text() for name in "ab"]
    assert kept[0] == kept[1]
    keys = beholder.pick(str(photos), count=3, out=str(tmp_path / "a.csv"), model=str(model))
    (*_, told) = printed(capsys, "pick", photos, "--count", "3", "--out", tmp_path / "b.csv", "--model", model)
    assert told == {"picked": keys}
    assert len(set(keys)) == 3
