"""Truths of models that join towers which were trained apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bundles import random_network
from torch.nn import functional as F

from beholder.config import from_json, to_json
from beholder.data.pairs import PairStream
from beholder.metrics.retrieval import match_ranks, recall_at
from beholder.models.bert import BERT, BERTConfig, bert_trunk
from beholder.models.clip import CLIP, PRESETS
from beholder.models.conv import PRESETS as CONV
from beholder.models.conv import EfficientNetLite, EfficientNetLiteConfig
from beholder.models.pairs import (
    ConvexNames,
    FrozenImages,
    FrozenTexts,
    LockedPair,
    NamedClasses,
    NamedClassesConfig,
    PairMaps,
    PairMapsConfig,
    is_pair_model,
)
from beholder.objectives.contrastive import Contrastive, ContrastiveConfig
from beholder.train.closed_form import correlation_maps, decompose, ridge_maps
from beholder.types import UserError

WIDTH, NUM_CLASSES = 24, 7


def names(num_kept: int = 3, temperature: float = 1.0) -> NamedClasses:
    made = NamedClasses(NamedClassesConfig(NUM_CLASSES, WIDTH, num_kept, temperature))
    made.points.copy_(F.normalize(torch.randn(NUM_CLASSES, WIDTH, generator=torch.Generator().manual_seed(5)), dim=1))
    return made


def reader() -> BERT:
    torch.manual_seed(1)
    return BERT(BERTConfig(64, 32, has_word_head=False, trunk=bert_trunk(WIDTH, 2, 3))).eval()


def classifier() -> EfficientNetLite:
    torch.manual_seed(2)
    debug = CONV["debug"]
    config = EfficientNetLiteConfig(
        debug.stem_width, debug.stages, debug.map_stages, debug.summary_width, num_classes=NUM_CLASSES
    )
    return EfficientNetLite(config).eval()


def pixels() -> torch.Tensor:
    return torch.randn(5, 3, 32, 40, generator=torch.Generator().manual_seed(3))


def tokens() -> torch.Tensor:
    return torch.randint(0, 64, (4, 19), generator=torch.Generator().manual_seed(4))


def features(count: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Two views of the same hidden causes, one of them bent."""
    generator = torch.Generator().manual_seed(6)
    causes = torch.randn(count, 6, generator=generator)
    image = (causes @ torch.randn(6, 30, generator=generator)).tanh() + 0.2 * torch.randn(
        count, 30, generator=generator
    )
    text = causes @ torch.randn(6, WIDTH, generator=generator) + 0.2 * torch.randn(count, WIDTH, generator=generator)
    return image, F.normalize(text, dim=1)


def locked(is_anchored: bool = True) -> LockedPair:
    images = FrozenImages(classifier(), names() if is_anchored else None)
    width = WIDTH if is_anchored else 10
    return LockedPair(
        images, FrozenTexts(reader()), PairMaps(PairMapsConfig(images.width, WIDTH, width, 0, True, is_anchored))
    )


class TestNames:
    def test_a_sure_classifier_puts_the_image_on_its_name(self) -> None:
        logits = 50 * torch.eye(NUM_CLASSES)
        torch.testing.assert_close(names()(logits), names().points, rtol=1e-4, atol=1e-5)

    def test_the_point_is_the_weighted_mean_of_the_likeliest(self) -> None:
        logits = torch.tensor([[0.0, 3.0, 1.0, -1.0, 2.0, -2.0, -3.0]])
        shares = logits[0].softmax(0)[[1, 4, 2]]
        expected = F.normalize((shares[:, None] * names().points[[1, 4, 2]]).sum(0), dim=0)
        torch.testing.assert_close(names()(logits)[0], expected)

    def test_convex_names_is_the_classifier_and_the_reader(self) -> None:
        network, model = classifier(), ConvexNames(classifier(), reader(), names())
        torch.testing.assert_close(model.encode_images(pixels()), names()(network.classify(network(pixels()))))
        torch.testing.assert_close(model.encode_texts(tokens()), reader().sentence(tokens()))


class TestMaps:
    def test_untrained_anchored_maps_leave_both_where_they_are(self) -> None:
        model, conse = locked(), ConvexNames(classifier(), reader(), names())
        torch.testing.assert_close(model.encode_images(pixels()), conse.encode_images(pixels()), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.encode_texts(tokens()), conse.encode_texts(tokens()), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("is_anchored", [True, False])
    def test_points_are_of_unit_length(self, is_anchored: bool) -> None:
        model = locked(is_anchored)
        for points in (model.encode_images(pixels()), model.encode_texts(tokens())):
            torch.testing.assert_close(points.norm(dim=1), torch.ones(len(points)))

    def test_blending_by_none_forgets_and_by_all_changes_nothing(self) -> None:
        image, text = features(40)
        wide = torch.cat([image, text], dim=1)
        maps = PairMaps(PairMapsConfig(wide.shape[1], WIDTH, WIDTH, is_anchored=True)).eval().requires_grad_(False)
        for layers in (maps.image_map, maps.text_map):
            assert layers is not None
            layers[-1].weight.normal_()  # type: ignore[operator, union-attr]
        before = maps.encode_images(wide)
        maps.blend(1.0)
        assert torch.equal(maps.encode_images(wide), before)
        maps.blend(0.0)
        torch.testing.assert_close(maps.encode_images(wide), F.normalize(text, dim=1))

    def test_what_never_varies_is_no_infinity(self) -> None:
        image, text = features(40)
        image[:, 3] = 7.0
        maps = PairMaps(PairMapsConfig(30, WIDTH, 8))
        maps.standardise(image, text)
        image[0, 3] = 9.0
        assert maps.encode_images(image).isfinite().all()

    def test_maps_for_other_towers_are_refused(self) -> None:
        with pytest.raises(AssertionError, match="maps for"):
            LockedPair(FrozenImages(classifier()), FrozenTexts(reader()), PairMaps(PairMapsConfig(3, WIDTH, 8)))

    def test_only_the_maps_learn(self) -> None:
        model = locked()
        assert {name.split(".")[0] for name, one in model.named_parameters() if one.requires_grad} == {"maps"}

    def test_a_configuration_survives_json(self) -> None:
        config = PairMapsConfig(30, WIDTH, 8, logit_bias=-10.0)
        assert from_json(PairMapsConfig, to_json(config)) == config


class TestProtocol:
    def test_models_with_two_towers_keep_it(self) -> None:
        models = [locked(), ConvexNames(classifier(), reader(), names()), CLIP(PRESETS["debug"]), locked().maps]
        assert all(map(is_pair_model, models))

    def test_one_tower_does_not(self) -> None:
        assert not is_pair_model(reader()) and not is_pair_model(random_network())

    @pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
    def test_the_contrastive_objective_trains_maps_on_features(self, kind: str) -> None:
        image, text = features(64)
        maps = PairMaps(PairMapsConfig(30, WIDTH, 12, logit_bias=-2.0 if kind == "sigmoid" else None))
        maps.standardise(image, text)
        objective = Contrastive(ContrastiveConfig(kind))  # type: ignore[arg-type]
        optimizer = torch.optim.AdamW(maps.parameters(), lr=3e-3)
        losses = []
        for _ in range(40):
            loss = objective(maps, {"pixels": image, "tokens": text}).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < losses[0] / 2
        assert all(one.grad is not None and one.grad.any() for one in maps.parameters())


class TestClosedForms:
    def test_ridge_is_that_of_scikit_learn(self) -> None:
        from sklearn.linear_model import Ridge

        image, text = (one.double() for one in features())
        scaled = (image - image.mean(0)) / image.std(0, correction=0)
        fitted = Ridge(alpha=0.3 * len(image)).fit(scaled.numpy(), text.numpy())
        expected = torch.from_numpy(fitted.predict(scaled.numpy())) - text.mean(0)
        apart = decompose(image, is_standardised=True), decompose(text, is_standardised=False)
        seen = ridge_maps(*apart, 0.3).encode_images(image.float())
        torch.testing.assert_close(seen, F.normalize(expected, dim=1).float(), rtol=1e-3, atol=1e-4)

    def test_correlations_are_those_of_scikit_learn(self) -> None:
        from sklearn.cross_decomposition import CCA

        image, text = features()
        fitted = CCA(4, max_iter=2000, tol=1e-9).fit(image.numpy(), text.numpy())
        theirs = [
            abs(np.corrcoef(a, b)[0, 1]) for a, b in zip(*map(np.transpose, fitted.transform(image, text)), strict=True)
        ]
        apart = decompose(image, is_standardised=True), decompose(text, is_standardised=False)
        maps = correlation_maps(*apart, 0.0, 0.0, 4, power=0.0)
        seen = maps.image_map((image - maps.image_mean) / maps.image_scale / 30**0.5)
        assert maps.text_map is not None
        read = maps.text_map((text - maps.text_mean) / maps.text_scale / WIDTH**0.5)
        ours = [abs(np.corrcoef(a, b)[0, 1]) for a, b in zip(seen.T.numpy(), read.T.numpy(), strict=True)]
        assert ours == pytest.approx(theirs, abs=5e-3)


class TestRanks:
    def test_ties_stand_before_the_match(self) -> None:
        scores, is_match = np.array([[1.0, 1.0, 0.0], [3.0, 2.0, 1.0]]), np.array([[True, False, False]] * 2)
        assert match_ranks(scores, is_match).tolist() == [2, 1]

    def test_any_match_will_do(self) -> None:
        scores = np.array([[5.0, 4.0, 3.0, 2.0]])
        ranks = match_ranks(scores, np.array([[False, False, True, True]]))
        assert ranks.tolist() == [3]
        assert [recall_at(ranks, k) for k in (2, 3)] == [0.0, 1.0]


class TestStream:
    def stream(self, batch_size: int = 8) -> PairStream:
        texts_of = [np.array([row // 3, 10 + row]) for row in range(30)]
        return PairStream(
            torch.arange(30.0)[:, None], torch.arange(40.0)[:, None], texts_of, batch_size=batch_size, seed=0
        )

    def test_a_batch_is_a_function_of_its_number(self) -> None:
        for step in (0, 5, 3):
            first, again = self.stream().batch(step), self.stream().batch(step)
            assert all(torch.equal(first[name], again[name]) for name in first)
        assert not torch.equal(self.stream().batch(0)["pixels"], self.stream().batch(1)["pixels"])

    def test_every_pair_is_one_and_no_text_comes_twice(self) -> None:
        for step in range(20):
            batch = self.stream(16).batch(step)
            image, text = (batch[name][:, 0].long().tolist() for name in ("pixels", "tokens"))
            assert len(set(text)) == len(text) and len(set(image)) == len(image) > 1
            assert all(one in (row // 3, 10 + row) for row, one in zip(image, text, strict=True))

    def test_all_images_come_in_an_epoch(self) -> None:
        texts_of = [np.array([row]) for row in range(30)]
        stream = PairStream(torch.arange(30.0)[:, None], torch.zeros(30, 1), texts_of, batch_size=10, seed=1)
        seen = torch.cat([stream.batch(step)["pixels"][:, 0] for step in range(3)])
        assert sorted(seen.tolist()) == list(range(30))

    def test_one_text_for_all_is_refused(self) -> None:
        with pytest.raises(UserError, match="All images have the same text"):
            PairStream(torch.zeros(3, 1), torch.zeros(1, 1), [np.array([0])] * 3, batch_size=2, seed=0)
