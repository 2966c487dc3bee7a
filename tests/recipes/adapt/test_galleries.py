"""The report's pictures: the right ones, in the right order, with what the model said of each."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from bundles import CPU, random_bundle
from domains import make_domain, make_space
from pictures import draw
from PIL import Image

from beholder.data.decode import Limits
from beholder.evaluate.deletion import Deletion
from beholder.pretrained.bundle import Bundle
from beholder.recipes.adapt import galleries
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.galleries import NUM_SHOWN, Album, answer_gallery, check_heat, unusual_gallery
from beholder.recipes.adapt.unusual import Unusual, find_unusual
from beholder.tasks.embed import embed_arrays

CLASSES = ("left", "right")


@pytest.fixture(scope="module")
def domain() -> Domain:
    generator = np.random.default_rng(0)
    images = [draw(generator, index % 3) for index in range(60)]
    labels = (np.arange(60) % 2).tolist()
    return make_domain(labels, classes=CLASSES, test=[*range(20, 60)], normal="left", images=images)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return random_bundle()


@pytest.fixture
def album(domain: Domain) -> Album:
    return Album(domain, Limits(), 1)


@pytest.fixture(scope="module")
def probabilities() -> np.ndarray:
    """Of the 40 test images; about a third is wrong."""
    first = np.random.default_rng(3).uniform(0.5, 1, 40)
    label, is_wrong = np.arange(20, 60) % 2, np.random.default_rng(4).random(40) < 0.35
    said = label ^ is_wrong
    return np.stack([np.where(said == 0, first, 1 - first), np.where(said == 1, first, 1 - first)], axis=1)


class TestAnswers:
    @pytest.fixture
    def told(
        self, domain: Domain, bundle: Bundle, album: Album, probabilities: np.ndarray
    ) -> dict[str, list[dict[str, Any]]]:
        return answer_gallery(domain, bundle, domain.folds[0].test, probabilities, album, CPU)

    def test_cards_say_what_the_model_said(
        self, told: dict[str, list[dict[str, Any]]], domain: Domain, probabilities: np.ndarray
    ) -> None:
        assert len(told["right"]) == len(told["wrong"]) == NUM_SHOWN
        for kind, cards in told.items():
            for card in cards:
                row = int(card["key"].removesuffix(".png"))
                said = probabilities[row - 20]
                assert card["label"] == CLASSES[row % 2]
                assert card["predicted"] == CLASSES[said.argmax()]
                assert card["probability"] == said.max()
                assert (card["label"] == card["predicted"]) == (kind == "right")
                assert card["picture"] == f"image-{row}"

    def test_wrong_ones_are_the_most_confident_and_right_ones_take_turns(
        self, told: dict[str, list[dict[str, Any]]], domain: Domain, probabilities: np.ndarray
    ) -> None:
        labels, confidence = domain.labels[domain.folds[0].test], probabilities.max(1)
        is_wrong = probabilities.argmax(1) != labels
        assert [card["probability"] for card in told["wrong"]] == sorted(confidence[is_wrong], reverse=True)[:NUM_SHOWN]
        assert [card["label"] for card in told["right"]] == ["left", "right"] * (NUM_SHOWN // 2)
        for index, name in enumerate(CLASSES):
            shown = [card["probability"] for card in told["right"] if card["label"] == name]
            assert shown == sorted(confidence[~is_wrong & (labels == index)], reverse=True)[: len(shown)]

    def test_every_picture_is_in_the_album(self, told: dict[str, list[dict[str, Any]]], album: Album) -> None:
        named = {card[part] for cards in told.values() for card in cards for part in ("picture", "heat")}
        assert named == album.pictures.keys()
        for content in album.pictures.values():
            with Image.open(io.BytesIO(content)) as picture:
                assert (picture.format, picture.size) == ("JPEG", (48, 48))

    def test_no_wrong_answer_is_no_card(self, domain: Domain, bundle: Bundle, album: Album) -> None:
        sure = np.eye(2)[domain.labels[domain.folds[0].test]]
        assert answer_gallery(domain, bundle, domain.folds[0].test, sure, album, CPU)["wrong"] == []


def test_the_album_decodes_each_image_once(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, own = [], galleries.decoded

    def count(samples: list[Any], *arguments: Any, **options: Any) -> Any:
        asked.extend(sample.key for sample in samples)
        return own(samples, *arguments, **options)

    monkeypatch.setattr(galleries, "decoded", count)
    album = Album(domain, Limits(), 1)
    first = album.images([3, 1, 3])
    assert np.array_equal(first[0], first[2])
    assert not np.array_equal(first[0], first[1])
    assert album.show([1, 3]) == ["image-1", "image-3"]
    album.images([1, 4])
    assert asked == ["0003.png", "0001.png", "0004.png"]


class TestHeat:
    def test_the_check_is_a_sentence_and_its_numbers(self, domain: Domain, bundle: Bundle, album: Album) -> None:
        test = domain.folds[0].test
        said = bundle.model.classify(embed_arrays(bundle, album.images(test.tolist()), CPU).clone()).numpy()
        first, second = (check_heat(domain, bundle, test, said, album, CPU, seed=0) for _ in range(2))
        assert first == second
        assert first["deletion"].keys() == {"important_drop", "random_drop", "share_better", "num"}
        assert first["deletion"]["num"] == galleries.NUM_DELETED
        assert f"{100 * first['deletion']['important_drop']:.0f} points of probability" in first["sentence"]

    @pytest.mark.parametrize(
        ("important", "random", "better", "words"),
        [
            (0.3, 0.1, 0.8, " do show"),
            (0.3, 0.1, 0.53, "do not clearly"),  # 17 of 32 images: a coin does as well
            (0.1, 0.1, 0.8, "do not clearly"),
            (0.005, 0.0, 0.8, "do not clearly"),
            (0.1, -0.5, 0.8, " do show"),
        ],
    )
    def test_the_sentence_follows_the_numbers(
        self,
        domain: Domain,
        bundle: Bundle,
        album: Album,
        probabilities: np.ndarray,
        monkeypatch: pytest.MonkeyPatch,
        important: float,
        random: float,
        better: float,
        words: str,
    ) -> None:
        monkeypatch.setattr(galleries, "deletion_test", lambda *arguments: Deletion(important, random, better, 32))
        told = check_heat(domain, bundle, domain.folds[0].test, probabilities, album, CPU, seed=0)
        assert words in told["sentence"]


class TestUnusual:
    @pytest.fixture
    def unusual(self) -> Unusual:
        generator = np.random.default_rng(0)
        rows = generator.normal(size=(60, 3))
        rows[[5, 50]] += 40
        found = find_unusual(make_domain([-1] * 60), np.setdiff1d(np.arange(60), [5, 50]), make_space(rows), 0)
        assert found is not None
        return found

    def test_the_farthest_come_first(self, domain: Domain, unusual: Unusual, album: Album) -> None:
        told = unusual_gallery(domain, unusual, album)
        scores = [item["score"] for item in told["items"]]
        assert scores == sorted(unusual.distance.tolist(), reverse=True)[: 2 * NUM_SHOWN]
        assert {item["key"] for item in told["items"][:2]} == {"0005.png", "0050.png"}
        assert {item["label"] for item in told["items"]} <= {*CLASSES}
        assert told["sentence"].startswith(f"{int((unusual.distance > told['threshold']).sum())} of 60 images")
        assert {item["picture"] for item in told["items"]} == album.pictures.keys()

    def test_a_threshold_that_cannot_be_promised_is_null(self, domain: Domain, unusual: Unusual, album: Album) -> None:
        few = Unusual(unusual.usual, unusual.distance, unusual.p_value, 3, None)
        few.usual.levels = few.usual.levels[:5]
        told = unusual_gallery(domain, few, album)
        assert told["threshold"] is None
        json.dumps(told, allow_nan=False)
