"""Truths of maps that are joined."""

from __future__ import annotations

import pytest
import torch

from beholder.config import from_json, to_json
from beholder.models.joined_maps import JoinedMaps, JoinedMapsConfig, join_maps
from beholder.models.pairs import PairMaps, PairMapsConfig, is_pair_model


def maps(width: int, seed: int) -> PairMaps:
    torch.manual_seed(seed)
    return PairMaps(PairMapsConfig(12, 6, width)).eval()


@pytest.mark.parametrize("share", [0.25, 1.0])
@torch.no_grad()
def test_a_joined_cosine_is_the_mean_of_the_parts(share: float) -> None:
    parts, images, texts = [maps(8, 0), maps(5, 1)], torch.randn(4, 12), torch.randn(3, 6)
    joined = join_maps(parts, [share, 1 - share])
    first, second = (one.encode_images(images) @ one.encode_texts(texts).T for one in parts)
    points = joined.encode_images(images)
    torch.testing.assert_close(points @ joined.encode_texts(texts).T, share * first + (1 - share) * second)
    torch.testing.assert_close(points.norm(dim=1), torch.ones(4))
    assert is_pair_model(joined) and joined.logit_scale == parts[0].logit_scale


def test_it_is_made_again_from_its_configuration() -> None:
    joined = join_maps([maps(8, 0), maps(5, 1)], [0.5, 0.5])
    again = JoinedMaps(from_json(JoinedMapsConfig, to_json(joined.config)))
    again.load_state_dict(joined.state_dict())
    images = torch.randn(2, 12)
    assert torch.equal(again.encode_images(images), joined.encode_images(images))


def test_parts_change_nothing_of_where_they_came_from() -> None:
    part = maps(8, 0)
    join_maps([part, maps(5, 1)], [0.5, 0.5])
    assert part.logit_scale.requires_grad
