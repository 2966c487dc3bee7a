"""Truths of the recognition game and its teacher."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from beholder.models.vit import PRESETS, ViT
from beholder.objectives.recognition import Recognition, RecognitionConfig, follow, rising_momentum
from beholder.types import Outputs, UserError


class Flat(nn.Module):
    """Says its input as the summary, with one map of the same numbers."""

    map_strides, map_widths, summary_width = (1,), (128,), 128

    def forward(self, x: torch.Tensor) -> Outputs:
        return Outputs((x[:, :, None, None],), x)


def game(num_views: int = 2) -> tuple[Recognition, torch.Tensor]:
    """A game whose heads let the summary through, so that the answer is known."""
    recognition = Recognition(Flat(), RecognitionConfig(width=128, temperature=0.1))
    recognition.project = recognition.predict = nn.Identity()  # type: ignore[assignment]
    return recognition, torch.randn(num_views * 6, 128, generator=torch.Generator().manual_seed(0))


def say(rows: torch.Tensor) -> Outputs:
    """Outputs whose pooled features are `rows`: half in the map, half in the summary."""
    return Outputs((rows[:, :64, None, None],), rows[:, 64:])


def test_knowing_every_image_costs_next_to_nothing() -> None:
    recognition, rows = game()
    same = rows[:6].repeat(2, 1)
    losses = recognition(say(same), F.normalize(same, dim=1), num_views=2)
    assert losses.total.item() < 0.02
    assert losses.parts["agreement"] == pytest.approx(1)
    assert losses.parts["spread"] == pytest.approx(1, abs=0.15)


def test_constant_features_cost_the_logarithm_of_the_batch() -> None:
    recognition, rows = game()
    told = F.normalize(rows[:1].expand(12, -1), dim=1)
    losses = recognition(say(rows[:1].expand(12, -1)), told, num_views=2)
    assert losses.total.item() == pytest.approx(math.log(6), rel=1e-4)
    assert losses.parts["spread"] == pytest.approx(0, abs=1e-3)


def test_naming_the_wrong_images_costs_more_than_guessing() -> None:
    recognition, rows = game()
    told = F.normalize(rows[:6].repeat(2, 1), dim=1)
    wrong = rows[:6].roll(1, 0).repeat(2, 1)
    assert recognition(say(wrong), told, num_views=2).total.item() > math.log(6)


def test_a_view_is_compared_with_the_other_views_only() -> None:
    """Each view knows itself and not the other: with two views that must not pay."""
    recognition, rows = game()
    told = F.normalize(rows, dim=1)
    assert recognition(say(rows), told, num_views=2).total.item() > 0.5
    assert recognition(say(rows[:6]), told[:6], num_views=1).total.item() < 0.02


def test_one_image_cannot_be_told_apart() -> None:
    recognition, rows = game()
    with pytest.raises(UserError, match="at least 2"):
        recognition(say(rows[:2]), F.normalize(rows[:2], dim=1), num_views=2)


def test_the_teacher_starts_as_the_student_and_follows_it_ever_more_slowly() -> None:
    torch.manual_seed(0)
    student, other = ViT(PRESETS["debug"]), ViT(PRESETS["debug"])
    recognition = Recognition(student, RecognitionConfig(first_momentum=0.9))
    kept, new = next(recognition.teacher.parameters()), next(other.parameters())
    start = kept.clone()
    assert torch.equal(start, next(student.parameters()))
    recognition.update(other, progress=1e-9)
    torch.testing.assert_close(kept, 0.9 * start + 0.1 * new)
    moved = kept.clone()
    recognition.update(other, progress=1.0)
    assert torch.equal(kept, moved)


def test_the_momentum_rises_from_the_first_to_one() -> None:
    course = [rising_momentum(0.99, step / 10) for step in range(11)]
    assert course == sorted(course)
    assert course[0] == pytest.approx(0.99) and course[-1] == pytest.approx(1.0)


def test_following_refuses_another_model() -> None:
    with pytest.raises(AssertionError, match="another model"):
        follow(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), 0.5)
