"""Where each image is a class: which weights learn, how gently, and how many images there may be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from beholder.models.conv import PRESETS, EfficientNetLite
from beholder.objectives.own_class import OwnClass
from beholder.recipes.adapt.pretrain import METHODS, build_objective, diet_of, start_backbone
from beholder.recipes.adapt.settings import AdaptConfig

ASKED = AdaptConfig("photos", objective="own-class")


@pytest.fixture
def backbone() -> nn.Module:
    return start_backbone(ASKED, EfficientNetLite(PRESETS["efficientnet-lite0"]))


def test_the_beginning_of_the_network_stays(backbone: nn.Module) -> None:
    learns = [any(value.requires_grad for value in stage.parameters()) for stage in backbone.stages]  # type: ignore[union-attr]
    assert learns == [False] * 5 + [True] * (len(learns) - 5)
    assert all(
        value.requires_grad for value in start_backbone(replace(ASKED, objective="teacher"), backbone).parameters()
    )


def test_it_is_what_continues_the_generic_network_where_nothing_else_is_asked() -> None:
    assert AdaptConfig("photos").method == "own-class"
    assert AdaptConfig("photos", backbone="vit").method == "teacher"
    assert AdaptConfig("photos", backbone="vit", objective="masked").method == "masked"


def test_every_image_has_a_class(backbone: nn.Module) -> None:
    objective = build_objective(ASKED, backbone, 40)
    assert isinstance(objective, OwnClass) and objective.head.out_features == 40


def test_it_is_gentle_with_what_was_learned_before_and_few_images_take_part() -> None:
    other = replace(ASKED, objective="teacher")
    assert diet_of(ASKED).lr < diet_of(other).lr and METHODS["own-class"].most_images < METHODS["teacher"].most_images
    assert diet_of(replace(ASKED, backbone="vit")).lr == diet_of(replace(other, backbone="vit")).lr
