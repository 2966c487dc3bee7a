"""Texts beside images: what the towers say of each pair is what the tasks, the functions and the verbs tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import CPU, random_bundle
from pictures import write_classes
from towers import save_clip

import beholder
from beholder.cli.classify import split_model
from beholder.cli.main import main
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.tasks.shared_space import SharedSpace, open_space
from beholder.tasks.similarity import classify_by_name, place_names, similarity
from beholder.types import UserError

TEXTS = ["a cracked solar cell", "a whole solar cell", "the lazy dog"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clip")
    save_clip(place)
    return place


@pytest.fixture(scope="module")
def foreign(folder: Path) -> Foreign:
    loaded = beholder.load(folder)
    assert isinstance(loaded, Foreign)
    return loaded


@pytest.fixture(scope="module")
def space(foreign: Foreign) -> SharedSpace:
    return open_space(foreign, CPU)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    place = write_classes(tmp_path / "photos", 3)
    (place / "words.png").write_text("no picture")
    return place


def printed(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


class TestSimilarity:
    def test_it_is_the_cosine_of_the_towers(self, space: SharedSpace, photos: Path) -> None:
        paths = sorted(photos.rglob("0*.png"))
        answers = list(similarity(space, paths, TEXTS))
        points = torch.stack([one.point for one in space.place_images(paths) if one.point is not None])
        cosines = points @ space.place_texts(TEXTS).T
        for answer, row in zip(answers, cosines, strict=True):
            assert list(answer.details["similarities"].values()) == pytest.approx(row.tolist(), abs=1e-6)
            assert answer.label == TEXTS[int(row.argmax())]
            assert answer.score == max(answer.details["similarities"].values())
            assert sum(answer.details["probabilities"].values()) == pytest.approx(1, abs=1e-5)

    def test_a_text_is_judged_the_same_beside_others_and_alone(self, space: SharedSpace) -> None:
        alone = torch.cat([space.place_texts([text]) for text in TEXTS])
        torch.testing.assert_close(space.place_texts(TEXTS), alone, rtol=1e-4, atol=1e-5)

    def test_points_have_length_one(self, space: SharedSpace, photos: Path) -> None:
        points = space.place_arrays([np.zeros((30, 50, 3), np.uint8), np.full((24, 24, 3), 9, np.uint8)])
        for rows in (points, space.place_texts(TEXTS), place_names(space, ["cat", "dog"])):
            torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)))

    def test_an_unreadable_image_is_refused_and_the_others_are_answered(self, space: SharedSpace, photos: Path) -> None:
        answers = list(similarity(space, [photos / "words.png", photos / "across" / "0000.png"], TEXTS))
        assert answers[0].refused is not None
        assert answers[1].label in TEXTS

    @pytest.mark.parametrize(
        ("texts", "said"),
        [
            ([], "There are no texts"),
            (["a dog", " "], "Text 2 is empty"),
            (["dog " * 200], "tokens and the model reads 60"),
        ],
    )
    def test_texts_that_cannot_be_compared(self, space: SharedSpace, texts: list[str], said: str) -> None:
        with pytest.raises(UserError, match=said):
            list(similarity(space, [np.zeros((8, 8, 3), np.uint8)], texts))

    def test_models_without_both_towers(self, foreign: Foreign) -> None:
        with pytest.raises(UserError, match="A model that adapt made reads no texts"):
            open_space(random_bundle(), CPU)
        assert isinstance(foreign, Foreign)


class TestNames:
    def test_one_prompt_without_words_is_the_name_itself(self, space: SharedSpace) -> None:
        torch.testing.assert_close(place_names(space, TEXTS, ["{}"]), space.place_texts(TEXTS))

    def test_the_order_of_names_does_not_matter(self, space: SharedSpace, photos: Path) -> None:
        image = [photos / "across" / "0000.png"]
        first, second = (next(classify_by_name(space, image, names)) for names in (["cat", "dog"], ["dog", "cat"]))
        assert first.label == second.label
        assert first.details["probabilities"] == pytest.approx(second.details["probabilities"])
        assert first.score == max(first.details["probabilities"].values())

    @pytest.mark.parametrize(
        ("names", "prompts", "said"),
        [
            (["cat"], ["{}"], "leaves nothing to tell apart"),
            (["cat", " cat"], ["{}"], "'cat' is given twice"),
            (["cat", ""], ["{}"], "Class name 2 is empty"),
            (["cat", "dog"], ["a photo"], "has no {} for the name"),
        ],
    )
    def test_names_that_cannot_be_classes(
        self, space: SharedSpace, names: list[str], prompts: list[str], said: str
    ) -> None:
        with pytest.raises(UserError, match=said):
            list(classify_by_name(space, [np.zeros((8, 8, 3), np.uint8)], names, prompts))


class TestVerbs:
    def test_similarity(self, folder: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
        image = photos / "across" / "0000.png"
        told = printed(capsys, "similarity", image, *TEXTS, "--model", folder)
        answer = beholder.similarity(folder, image, TEXTS)[0]
        assert told == [{"key": str(image), "label": answer.label, "score": answer.score, **answer.details}]
        assert main(["similarity", str(image), *TEXTS, "--model", str(folder)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].strip() == str(image)
        assert lines[1].split("%  ")[1] == answer.label

    @pytest.mark.parametrize(
        ("inputs", "model", "num_images"),
        [
            (["MODEL", "IMAGE", "IMAGE"], "MODEL", 2),
            (["RUN", "IMAGE"], "RUN", 1),
            (["IMAGE", "IMAGE"], "embedded", 2),
            (["PHOTOS"], "embedded", 1),
            (["owner/name", "IMAGE"], "owner/name", 1),
            (["misspelt.png", "IMAGE"], "embedded", 2),
            (["misspelt"], "embedded", 1),
        ],
    )
    def test_with_labels_the_model_may_be_left_out(
        self, inputs: list[str], model: str, num_images: int, folder: Path, photos: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "model").symlink_to(folder)
        paths = {
            "MODEL": str(folder), "RUN": str(tmp_path), "PHOTOS": str(photos),
            "IMAGE": str(photos / "across" / "0000.png"),
        }  # fmt: skip
        found, images = split_model([paths.get(one, one) for one in inputs], may_be_left_out=True)
        assert found == paths.get(model, model)
        assert len(images) == num_images
        assert split_model(inputs, may_be_left_out=False) == (inputs[0], tuple(inputs[1:]))
        with pytest.raises(UserError, match="no model was named"):
            split_model([paths["IMAGE"]], may_be_left_out=False)

    def test_classify_by_names(self, folder: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
        told = printed(capsys, "classify", folder, photos, "--labels", "dog, cell")
        answers = beholder.classify(folder, photos, labels=["dog", "cell"])
        assert [one.get("label") for one in told] == [one.label for one in answers]
        assert sum("refused" in one for one in told) == 1

    def test_describe_tells_the_best_candidates_first(
        self, folder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        candidates = tmp_path / "candidates.txt"
        candidates.write_text("\n".join([*TEXTS, "", TEXTS[0], "tabs and lines"]))
        image = photos / "across" / "0000.png"
        told = printed(capsys, "describe", image, "--model", folder, "--candidates", candidates, "--count", "3")
        ranking = told[0]["ranking"]
        assert len(ranking) == 3
        assert [one["similarity"] for one in ranking] == sorted((one["similarity"] for one in ranking), reverse=True)
        assert told[0]["label"] == ranking[0]["text"]
        assert beholder.describe(folder, image, [*TEXTS, "tabs and lines"])[0].label == told[0]["label"]

    @pytest.mark.parametrize(
        ("content", "said"),
        [(None, "no such file"), (b"\n \n", "is empty"), (b"\xff\xfe\xff", "cannot be read as text")],
    )
    def test_candidates_that_cannot_be_read(
        self, content: bytes | None, said: str, folder: Path, photos: Path, tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        path = tmp_path / "candidates.txt"
        if content is not None:
            path.write_bytes(content)
        assert main(["describe", str(photos), "--model", str(folder), "--candidates", str(path)]) == 2
        assert said in capsys.readouterr().err

    def test_a_foreign_model_needs_names_of_classes(self, folder: Path, photos: Path) -> None:
        with pytest.raises(UserError, match="names of classes"):
            beholder.classify(beholder.load(folder), photos)
