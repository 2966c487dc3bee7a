"""The model folder: what is saved is what is loaded, and a damaged folder is told in one sentence with its remedy."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import CPU, random_bundle
from safetensors.torch import load_file, save_file

import beholder
from beholder.pretrained.bundle import Bundle
from beholder.runtime.files import read_json, write_json
from beholder.tasks.anomaly import anomaly
from beholder.tasks.classify import classify
from beholder.tasks.embed import embed_arrays
from beholder.types import UserError

IMAGES = list(np.random.default_rng(0).integers(0, 256, (5, 40, 50, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "model"
    random_bundle().save(folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        beholder.load(path)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert ". " not in sentence.replace(str(path), "")
    assert "\n" not in sentence
    return sentence


def told(bundle: Bundle) -> list[dict[str, Any]]:
    answers = [*classify(bundle, IMAGES, CPU), *anomaly(bundle, IMAGES, CPU)]
    return [{"label": one.label, "score": one.score, **one.details} for one in answers]


class TestRoundTrip:
    def test_loading_gives_the_numbers_that_were_saved_to_the_bit(self, whole: Path) -> None:
        before, after = random_bundle(), beholder.load(whole)
        before.model.embedder.ready()  # what loading does too: norms are folded into convolutions
        assert torch.equal(embed_arrays(before, IMAGES, CPU), embed_arrays(after, IMAGES, CPU))
        assert told(before) == told(after)
        assert (after.labels, after.facts, after.card, after.pixels) == (
            before.labels,
            before.facts,
            before.card,
            before.pixels,
        )

    def test_folding_changes_no_answer_beyond_rounding(self, whole: Path) -> None:
        unfolded, loaded = random_bundle(), beholder.load(whole)
        torch.testing.assert_close(
            embed_arrays(unfolded, IMAGES, CPU), embed_arrays(loaded, IMAGES, CPU), rtol=1e-4, atol=1e-4
        )

    def test_a_loaded_model_can_be_saved_and_loaded_again(self, whole: Path, tmp_path: Path) -> None:
        once = beholder.load(whole)
        once.save(tmp_path / "again")
        twice = beholder.load(tmp_path / "again")
        assert torch.equal(embed_arrays(once, IMAGES, CPU), embed_arrays(twice, IMAGES, CPU))
        assert told(once) == told(twice)

    def test_a_model_saved_over_another_leaves_nothing_of_it(self, folder: Path) -> None:
        other = random_bundle(seed=7, labels=(), num_levels=0)
        other.save(folder)
        loaded = beholder.load(folder)
        assert loaded.labels == ()
        assert loaded.model.head is None
        assert loaded.model.usual is None

    def test_a_run_folder_opens_its_model(self, whole: Path) -> None:
        assert told(beholder.load(whole.parent)) == told(beholder.load(str(whole)))


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    value = read_json(path)
    write_json(path, change(value) or value)


def set_at(*keys: Any) -> Callable[[Any], Any]:
    """A change that puts the last of `keys` at the place that the others name."""
    *places, last, new = keys

    def change(value: Any) -> None:
        node = value
        for place in places:
            node = node[place]
        node[last] = new

    return change


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


COMPONENTS = "embedder.projection.components"


class TestDamage:
    @pytest.mark.parametrize("kept", [0, 4, 200, 0.5, 0.999])
    def test_truncated_weights(self, folder: Path, kept: float) -> None:
        path = folder / "model.safetensors"
        content = path.read_bytes()
        path.write_bytes(content[: int(kept if kept >= 1 else kept * len(content))])
        sentence = refusal(folder)
        assert str(path) in sentence
        assert "copy it or train it again" in sentence

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda tensors: tensors.pop(COMPONENTS), f"lacks {COMPONENTS}"),
            (lambda tensors: tensors.update(more=torch.zeros(2)), "has unknown more"),
            (
                lambda tensors: tensors.update({COMPONENTS: tensors[COMPONENTS][:4].clone()}),
                f"has misshapen {COMPONENTS} (4, ",
            ),
            (lambda tensors: tensors[COMPONENTS][0].fill_(torch.nan), f"has NaN or infinity in {COMPONENTS}"),
            (lambda tensors: tensors["usual.levels"][-1:].fill_(torch.inf), "has NaN or infinity in usual.levels"),
            (lambda tensors: tensors.clear(), "and "),
        ],
    )
    def test_weights_that_do_not_fit(self, folder: Path, change: Callable[[Any], Any], said: str) -> None:
        change_tensors(folder, change)
        sentence = refusal(folder)
        assert str(folder / "model.safetensors") in sentence
        assert said in sentence
        assert "copy the whole folder again" in sentence

    @pytest.mark.parametrize("name", ["config.json", "preprocess.json", "labels.json", "model.safetensors"])
    def test_a_missing_file(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        sentence = refusal(folder)
        assert name in sentence
        assert "folder" in sentence

    @pytest.mark.parametrize("name", ["config.json", "preprocess.json", "labels.json"])
    @pytest.mark.parametrize("content", [b"", b"{'single': 1}", b'{"format": ', b"[]", b"7", b"null", b"\xff\xfe\x00"])
    def test_a_file_of_another_content(self, folder: Path, name: str, content: bytes) -> None:
        (folder / name).write_bytes(content)
        sentence = refusal(folder)
        assert str(folder / name) in sentence
        assert "again" in sentence

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (set_at("format", 2), "has format 2 and this beholder reads format 1"),
            (lambda value: {"format": 1}, "model is missing"),
            (set_at("model", None), "expected a group of settings"),
            (set_at("model", "embedder", "backbones", 0, "family", "resnet"), "'resnet' is not a model family"),
            (set_at("model", "embedder", "backbones", 0, "config", "stem", 3), "stem is not a setting"),
            (set_at("model", "embedder", "backbones", 0, "config", "stem_width", -1), "config.json"),
            (set_at("model", "embedder", "backbones", 0, "config", "map_stages", [9]), "config.json"),
            (set_at("model", "embedder", "width", "wide"), "embedder.width='wide': expected int"),
            (set_at("model", "num_usual_levels", 3.5), "num_usual_levels=3.5: expected int"),
            (set_at("facts", "false_alarm_rate", None), "false_alarm_rate"),
            (set_at("facts", []), "facts=[]"),
        ],
    )
    def test_a_configuration_that_cannot_be_built(self, folder: Path, change: Callable[[Any], Any], said: str) -> None:
        edit(folder / "config.json", change)
        sentence = refusal(folder)
        assert str(folder / "config.json") in sentence
        assert said in sentence
        assert "run adapt again" in sentence

    def test_labels_that_are_not_as_many_as_the_classes(self, folder: Path) -> None:
        for labels in (["left"], ["left", "right", "up"], ["left", "left"], [1, 2], {"left": 0, "right": 1}):
            write_json(folder / "labels.json", labels)
            assert "labels.json" in refusal(folder)

    def test_a_pickle_in_the_place_of_weights_is_never_opened(self, folder: Path, tmp_path: Path) -> None:
        mark = tmp_path / "was here"

        class Trap:
            def __reduce__(self) -> tuple[Any, ...]:
                return os.mkdir, (str(mark),)

        content = pickle.dumps(Trap())
        (folder / "model.safetensors").write_bytes(content)
        assert "pickled weights" in refusal(folder)
        torch.save({"weights": torch.zeros(3), "trap": Trap()}, folder / "model.safetensors")
        assert "pickled weights" in refusal(folder)
        assert not mark.exists()
        pickle.loads(content)
        assert mark.exists(), "the trap does not work, so the test proves nothing"

    def test_a_card_that_is_no_text_does_not_matter(self, folder: Path) -> None:
        (folder / "README.md").write_bytes(b"caf\xe9")
        assert beholder.load(folder).card.startswith("caf")


class TestPlaces:
    def test_nothing_there(self, tmp_path: Path) -> None:
        sentence = refusal(tmp_path / "none")
        assert str(tmp_path / "none") in sentence
        assert "does not exist" in sentence

    def test_a_file(self, whole: Path) -> None:
        assert "is a file; name a model folder" in refusal(whole / "model.safetensors")

    def test_a_folder_that_is_no_model(self, tmp_path: Path) -> None:
        (tmp_path / "photos").mkdir()
        assert "holds no config.json" in refusal(tmp_path / "photos")

    def test_a_run_that_is_not_finished(self, tmp_path: Path) -> None:
        (tmp_path / "run" / "stages").mkdir(parents=True)
        write_json(tmp_path / "run" / "recipe.json", {"asked": {}})
        assert "of a finished run" in refusal(tmp_path / "run")


def test_saving_leaves_the_live_model_as_it_was(tmp_path: Path) -> None:
    bundle = random_bundle()
    before = copy.deepcopy(bundle.model.state_dict())
    bundle.save(tmp_path)
    assert before.keys() == bundle.model.state_dict().keys()
    assert all(torch.equal(value, bundle.model.state_dict()[name]) for name, value in before.items())
