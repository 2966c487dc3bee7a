"""A loss that never holds its scores is the loss of the scores that it never held."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from beholder.models.gpt import GPT, PRESETS
from beholder.objectives.head_loss import head_loss
from beholder.objectives.next_token import NextToken, NextTokenConfig


def drawn(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(23, 6, generator=generator), torch.randn(50, 6, generator=generator)
    targets, shares = torch.randint(50, (23,), generator=generator), torch.rand(23, generator=generator)
    return x.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_(), targets, shares / shares.sum()


def plain(x: Tensor, weight: Tensor, targets: Tensor, shares: Tensor, z_weight: float) -> Tensor:
    scores = (x @ weight.T).float()
    costs = F.cross_entropy(scores, targets, reduction="none") + z_weight * scores.logsumexp(1).square()
    return (costs * shares).sum()


@pytest.mark.parametrize("z_weight", [0.0, 0.3])
@pytest.mark.parametrize("at_once", [1, 50 * 7, 10**6], ids=["a row", "seven rows", "all"])
def test_value_and_gradients_are_those_of_the_scores(at_once: int, z_weight: float) -> None:
    one, other = drawn(), drawn()
    total, accuracy = head_loss(*one, z_weight, at_once)
    right = plain(*other, z_weight)
    assert torch.allclose(total, right, rtol=1e-6)
    (3 * total).backward()
    (3 * right).backward()
    for mine, theirs in zip(one[:2], other[:2], strict=True):
        assert mine.grad is not None and theirs.grad is not None
        assert torch.allclose(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        likeliest = (other[0] @ other[1].T).argmax(1)
    assert accuracy == pytest.approx(float(((likeliest == other[2]) * other[3]).sum()), abs=1e-6)


@pytest.mark.parametrize("frozen", [0, 1], ids=["the tokens", "the head"])
def test_what_is_frozen_gets_no_gradient_and_the_other_gets_its_own(frozen: int) -> None:
    one, other = drawn(), drawn()
    one[frozen].requires_grad_(False)
    head_loss(*one, scores_at_once=100)[0].backward()
    plain(*other, 0.0).backward()
    grad, right = one[1 - frozen].grad, other[1 - frozen].grad
    assert one[frozen].grad is None and grad is not None and right is not None
    assert torch.allclose(grad, right, rtol=1e-4, atol=1e-6)


def test_nothing_to_foretell_costs_nothing_and_teaches_nothing() -> None:
    x, weight, targets, shares = drawn()
    total, _ = head_loss(x[:0], weight, targets[:0], shares[:0])
    total.backward()
    assert float(total.detach()) == 0 and weight.grad is not None and not weight.grad.any()


def test_half_precision_comes_near() -> None:
    one, other = drawn(), drawn()
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = head_loss(*one, scores_at_once=350)
    total.backward()
    plain(*other, 0.0).backward()
    assert float(total.detach()) == pytest.approx(float(plain(*other, 0.0).detach()), rel=0.02)
    for mine, theirs in zip(one[:2], other[:2], strict=True):
        assert mine.grad is not None and theirs.grad is not None and mine.grad.dtype == torch.float32
        assert float((mine.grad - theirs.grad).norm() / theirs.grad.norm()) < 0.03


@pytest.mark.parametrize("z_weight", [0.0, 0.1])
def test_a_language_model_learns_the_same_from_either(z_weight: float) -> None:
    """Through the whole model, whose table of words is head and embedding at once."""

    class Whole(torch.nn.Module):
        """Gives scores alone."""

        def __init__(self, model: GPT) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: Tensor) -> Tensor:
            return self.model(tokens)

    torch.manual_seed(0)
    model, tokens = GPT(PRESETS["debug"]), torch.randint(64, (3, 20))
    batch = {"tokens": tokens, "weights": torch.rand(3, 20).round(decimals=1)}
    grads = []
    for asked in (model, Whole(model)):
        model.zero_grad()
        losses = NextToken(NextTokenConfig(z_weight))(asked, batch)
        losses.total.backward()
        grads.append([losses.total.detach(), *(one.grad.clone() for one in model.parameters() if one.grad is not None)])
    for mine, theirs in zip(*grads, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-6)
