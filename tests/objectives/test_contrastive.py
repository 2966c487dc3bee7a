"""Pairs attract, others repel; how much of a batch is in memory changes no gradient."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.objectives.contrastive import Contrastive, ContrastiveConfig


class Towers(nn.Module):
    """Two linear maps with dropout, so that recomputing has to draw the same numbers."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.image, self.text = nn.Linear(12, 5), nn.Embedding(20, 5)
        self.dropout = nn.Dropout(dropout)
        self.logit_scale = nn.Parameter(torch.tensor(1.0))
        self.logit_bias = nn.Parameter(torch.tensor(-2.0))

    def encode_images(self, pixels: Tensor) -> Tensor:
        return F.normalize(self.dropout(self.image(pixels.flatten(1))), dim=1)

    def encode_texts(self, tokens: Tensor, is_real: Tensor | None = None) -> Tensor:
        mask = torch.ones_like(tokens) if is_real is None else is_real
        return F.normalize((self.text(tokens) * mask[..., None]).sum(1), dim=1)


def batch(size: int = 10) -> dict[str, Tensor]:
    torch.manual_seed(1)
    tokens = torch.randint(0, 20, (size, 4))
    return {"pixels": torch.randn(size, 3, 2, 2), "tokens": tokens, "is_real": tokens > 3}


def gradients(config: ContrastiveConfig, dropout: float = 0.0) -> tuple[float, list[Tensor]]:
    model = Towers(dropout)
    torch.manual_seed(2)
    losses = Contrastive(config)(model, batch())
    losses.total.backward()
    return losses.total.item(), [torch.zeros(1) if value.grad is None else value.grad for value in model.parameters()]


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("chunk_size", [1, 3, 10, 99])
def test_small_chunks_change_neither_loss_nor_gradient(kind: Literal["softmax", "sigmoid"], chunk_size: int) -> None:
    whole, expected = gradients(ContrastiveConfig(kind))
    loss, found = gradients(ContrastiveConfig(kind, chunk_size))
    assert loss == pytest.approx(whole, rel=1e-5)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_what_is_computed_again_draws_the_same_dropout() -> None:
    """Otherwise the gradient would belong to another loss: its direction would not lower the one that was told."""
    model, config = Towers(0.5), ContrastiveConfig(chunk_size=2)
    torch.manual_seed(3)
    before = Contrastive(config)(model, batch())
    before.total.backward()
    with torch.no_grad():
        for value in model.parameters():
            if value.grad is not None:
                value -= 0.01 * value.grad
    torch.manual_seed(3)
    assert Contrastive(config)(model, batch()).total.item() < before.total.item()


def test_softmax_knows_nothing_at_first_and_everything_at_last() -> None:
    model, size = Towers(), 8
    points = torch.eye(8)[:, :5]
    model.encode_images = lambda pixels: points  # type: ignore[method-assign]
    model.encode_texts = lambda tokens, is_real=None: torch.zeros(size, 5)  # type: ignore[method-assign]
    losses = Contrastive()(model, batch(size))
    assert losses.total.item() == pytest.approx(math.log(size))
    own = torch.eye(8)
    model.encode_images = model.encode_texts = lambda *_: own  # type: ignore[method-assign]
    model.logit_scale.data.fill_(math.log(100))
    losses = Contrastive()(model, batch(size))
    assert losses.total.item() < 1e-6
    assert losses.parts["accuracy"] == 1


def test_sigmoid_is_what_the_paper_tells() -> None:
    """The mean over pictures of -log sigmoid(z (t x . y + b)) summed over texts; z is 1 for a pair, else -1."""
    model, told = Towers(), batch(6)
    images, texts = model.encode_images(told["pixels"]), model.encode_texts(told["tokens"], told["is_real"])
    expected = 0.0
    for i in range(6):
        for j in range(6):
            score = (model.logit_scale.exp() * images[i] @ texts[j] + model.logit_bias).item()
            expected -= math.log(1 / (1 + math.exp(-score if i == j else score))) / 6
    assert Contrastive(ContrastiveConfig("sigmoid"))(model, told).total.item() == pytest.approx(expected, rel=1e-4)


def test_the_order_of_the_batch_does_not_matter() -> None:
    model, told = Towers(), batch()
    order = torch.randperm(10)
    shuffled = {name: value[order] for name, value in told.items()}
    first, second = (Contrastive()(model, one).total.item() for one in (told, shuffled))
    assert first == pytest.approx(second, rel=1e-5)


def test_the_scale_stays_below_a_hundred() -> None:
    model = Towers()
    model.logit_scale.data.fill_(9.0)
    Contrastive().after_step(model, 0.5)
    assert model.logit_scale.exp().item() == pytest.approx(100, rel=1e-3)


def test_a_model_that_reads_padding_is_given_no_mask() -> None:
    model, told = Towers(), batch()
    del told["is_real"]
    assert Contrastive()(model, told).total.isfinite()


class TestSharedTexts:
    @pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
    def test_with_one_image_a_text_it_is_the_usual_loss(self, kind: Literal["softmax", "sigmoid"]) -> None:
        model, told = Towers(), batch()
        order = torch.randperm(10)
        shuffled = {**told, "tokens": told["tokens"][order], "is_real": told["is_real"][order]}
        usual = Contrastive(ContrastiveConfig(kind))(model, told)
        shared = Contrastive(ContrastiveConfig(kind))(model, {**shuffled, "text_of": order.argsort()})
        assert shared.total.item() == pytest.approx(usual.total.item(), rel=1e-5)
        assert shared.parts == usual.parts

    def test_images_of_one_text_are_no_strangers(self) -> None:
        """Two images on one point with one text: perfect, where each with a text of its own they would be confused."""
        model, told = Towers(), batch(4)
        points = torch.eye(5)[[0, 0, 1, 2]]
        model.encode_images = lambda pixels: points  # type: ignore[method-assign]
        model.encode_texts = lambda tokens, is_real=None: torch.eye(5)[:3]  # type: ignore[method-assign]
        model.logit_scale.data.fill_(math.log(100))
        losses = Contrastive()(model, {**told, "text_of": torch.tensor([0, 0, 1, 2])})
        assert losses.total.item() == pytest.approx(0, abs=1e-5) and losses.parts["accuracy"] == 1
        model.encode_texts = lambda tokens, is_real=None: points  # type: ignore[method-assign]
        assert Contrastive()(model, told).total.item() > 0.3

    @pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
    def test_a_text_without_an_image_repels(self, kind: Literal["softmax", "sigmoid"]) -> None:
        """More wrong answers, and no term of its own that would be without a right one."""
        model, told = Towers(), batch(6)
        few = {"pixels": told["pixels"], "tokens": told["tokens"][:2], "text_of": torch.tensor([0, 1, 0, 1, 1, 0])}
        objective = Contrastive(ContrastiveConfig(kind))
        more = objective(model, {**few, "tokens": told["tokens"][:5]}).total
        assert more.isfinite() and more > objective(model, few).total

    def test_every_match_counts_as_one_in_the_sigmoid(self) -> None:
        model, told = Towers(), batch(3)
        own = torch.tensor([1, 1, 0])
        images, texts = model.encode_images(told["pixels"]), model.encode_texts(told["tokens"][:2])
        expected = 0.0
        for i in range(3):
            for j in range(2):
                score = (model.logit_scale.exp() * images[i] @ texts[j] + model.logit_bias).item()
                expected -= math.log(1 / (1 + math.exp(-score if own[i] == j else score))) / 3
        shared = {"pixels": told["pixels"], "tokens": told["tokens"][:2], "text_of": own}
        assert Contrastive(ContrastiveConfig("sigmoid"))(model, shared).total.item() == pytest.approx(
            expected, rel=1e-4
        )


def test_a_scale_that_is_not_trained_stays() -> None:
    """SigLIP's is above a hundred."""
    model = Towers()
    model.logit_scale.data.fill_(4.77)
    model.requires_grad_(False)
    Contrastive().after_step(model, 0.5)
    assert model.logit_scale.item() == pytest.approx(4.77)
