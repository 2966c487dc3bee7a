"""What a codec is trained by: it follows the protocol, the adversary begins when told, resuming equals not stopping."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import CPU, random_network

from beholder.data.augment import AugmentConfig
from beholder.data.stream import ImageStream
from beholder.models.codebook import CodebookConfig
from beholder.models.codec import PRESETS, ImageCodec
from beholder.models.critic import CriticConfig, PatchCritic
from beholder.models.perceiver import Perceiver
from beholder.objectives.reconstruction import Reconstruction, ReconstructionConfig, perceptual_distance
from beholder.objectives.table_average import TableAverage
from beholder.train.loop import Plan, train
from beholder.train.optimizer import named_parameters
from beholder.types import Objective

LEARNED = replace(PRESETS["debug"], codebook=CodebookConfig("learned", num_codes=12, width=3))

FOLLOWING = replace(LEARNED, codebook=replace(LEARNED.codebook, is_unit=False, follows=True))


def perceiver() -> Perceiver:
    return Perceiver(random_network(), depths=(0, 1))


def build(codec: ImageCodec, has_critic: bool = False, **changes: float) -> Reconstruction:
    torch.manual_seed(7)
    critic = PatchCritic(CriticConfig(8)) if has_critic else None
    book = codec.config.codebook
    return Reconstruction(perceiver(), critic, ReconstructionConfig(**changes), book.table_shape, book.follows)


def make(config=PRESETS["debug"]) -> ImageCodec:
    torch.manual_seed(0)
    return ImageCodec(config)


def views(count: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    small = torch.rand(count, 3, 4, 4, generator=generator) * 2 - 1
    return {"views": torch.nn.functional.interpolate(small, (16, 16), mode="bilinear")[None]}


def stream() -> ImageStream:
    pictures = ((views(20)["views"][0] + 1) * 127.5).round().to(torch.uint8).numpy()
    plain = AugmentConfig(16, (0.9, 1.0), (1.0, 1.0), jitter=0.0, grey=0.0, blur=0.0)
    return ImageStream(pictures, batch_size=4, num_views=1, augmentation=plain, seed=0)


def test_it_follows_the_protocol_and_tells_finite_parts() -> None:
    codec = make(LEARNED)
    objective = build(codec, has_critic=True)
    assert isinstance(objective, Objective)
    losses = objective(codec, views())
    assert losses.parts.keys() == {"absolute", "squared", "perceptual", "codebook", "critic"}
    assert losses.total.ndim == 0 and all(np.isfinite(value) for value in losses.parts.values())


def test_the_perceiver_is_never_trained_nor_put_in_training_mode() -> None:
    codec = make()
    objective = build(codec).train()
    assert objective.perceiver is not None and not objective.perceiver.training
    objective(codec, views()).total.backward()
    assert all(value.grad is None for value in objective.perceiver.parameters())


def test_the_perceptual_distance_is_zero_for_equal_pictures_and_grows_with_blur() -> None:
    eye, pixels = perceiver(), views()["views"][0] + 0.3 * torch.randn(4, 3, 16, 16)
    distances = [
        float(perceptual_distance(eye(torch.nn.functional.avg_pool2d(pixels, side, 1, side // 2)), eye(pixels)))
        for side in (1, 3, 5)
    ]
    assert distances[0] == 0 and distances == sorted(distances) and distances[1] > 1e-4


def test_the_critic_waits_and_then_both_sides_learn_from_their_own_part() -> None:
    codec = make()
    objective = build(codec, has_critic=True, adversary_from=0.5)
    assert objective.critic is not None
    weights = list(objective.critic.parameters())
    waiting = objective(codec, views())
    waiting.total.backward()
    assert waiting.parts["critic"] == 0 and all(value.grad is not None and not value.grad.any() for value in weights)
    objective.after_step(codec, 0.6)
    playing = objective(codec, views())
    assert playing.parts["critic"] > 0
    objective.zero_grad()
    playing.total.backward()
    alone = [value.grad.clone() for value in weights if value.grad is not None]
    pixels = views()["views"][0]
    painted = codec(pixels)[0].detach()
    objective.zero_grad()
    score = objective.critic
    (0.5 * (torch.relu(1 - score(pixels)).mean() + torch.relu(1 + score(painted)).mean())).backward()
    for grown, value in zip(alone, weights, strict=True):
        assert value.grad is not None and torch.allclose(grown, value.grad, atol=1e-6)


def test_the_adversary_pulls_as_strongly_as_it_is_told() -> None:
    """The gradient on the picture is that of the other parts, and half as long again by the adversary's."""
    codec, pulls = make(), []
    pixels = views()["views"][0]
    for share in (0.0, 0.5):
        objective = build(codec, has_critic=True, adversary_from=0.0, adversary=share)
        objective.after_step(codec, 1.0)
        painted = codec(pixels)[0].detach().requires_grad_()

        class Painter(torch.nn.Module):
            def forward(self, _: torch.Tensor, painted: torch.Tensor = painted):
                return painted, codec.quantise(pixels)

        pulls.append(torch.autograd.grad(objective(Painter(), views()).total, painted)[0])
    assert float((pulls[1] - pulls[0]).norm() / pulls[0].norm()) == pytest.approx(0.5, rel=1e-4)


def test_codes_that_nothing_came_near_are_revived_until_they_are_left_to_settle() -> None:
    codec = make(LEARNED)
    codec.codebook.table.data[6:] = codec.codebook.table.data[
        :1
    ]  # six rows of no use, for the first of equals is taken
    objective = build(codec, revive_every=2, revive_until=0.5)
    useless = codec.codebook.table.detach().clone()[6:]
    for _ in range(2):
        objective(codec, views())
        objective.after_step(codec, 0.4)
    revived = codec.codebook.table.detach().clone()
    assert not any(torch.equal(row, old) for row, old in zip(revived[6:], useless, strict=True))
    for _ in range(2):
        objective(codec, views())
        objective.after_step(codec, 0.6)
    assert torch.equal(codec.codebook.table, revived)


def test_rows_that_follow_come_to_be_the_means_of_their_points() -> None:
    generator = torch.Generator().manual_seed(0)
    points, table = torch.randn(60, 2, generator=generator), torch.randn(4, 2, generator=generator)
    began, average = table.clone(), TableAverage(4, 2, momentum=0.9)
    codes = torch.arange(60) % 3  # nothing takes the last row
    for _ in range(200):
        average.follow(table, codes, points)
    means = torch.stack([points[codes == row].mean(0) for row in range(3)])
    assert torch.allclose(table[:3], means, atol=1e-5)
    assert torch.allclose(average.counts[:3], torch.tensor(20.0), atol=1e-3)
    table[3] = began[3]
    average.hold(torch.arange(4) == 3, table)
    average.follow(table, codes, points)
    assert torch.allclose(table[3], began[3])  # a row that was put somewhere does not forget it at once
    for _ in range(3000):
        average.follow(table, codes, points)
    assert torch.allclose(table[3], began[3], atol=1e-3)  # nor is it drawn to nothing by never being taken


def test_no_optimiser_moves_a_table_that_follows() -> None:
    codec = make(FOLLOWING)
    objective = build(codec)
    before = codec.codebook.table.detach().clone()
    objective(codec, views()).total.backward()
    assert codec.codebook.table.grad is None and "model.codebook.table" not in named_parameters(codec, objective)
    objective.after_step(codec, 0.1)
    assert not torch.equal(codec.codebook.table, before)


@pytest.mark.parametrize(
    "config", [PRESETS["debug"], LEARNED, FOLLOWING], ids=["finite", "learned", "a table that follows"]
)
def test_resuming_equals_not_stopping(config, tmp_path: Path) -> None:
    plan = Plan(9, lr=3e-3, probe_every=1, average_momentum=0.9, checkpoint_every_seconds=0.0)

    class Killed(Exception):
        pass

    def kill(report) -> None:
        if report.step == 4:
            raise Killed

    def sitting(folder: Path, on_step=lambda report: None):
        codec = make(config)
        objective = build(codec, has_critic=True, adversary_from=0.4, revive_every=2)
        result = train(codec, objective, stream(), plan=plan, device=CPU, folder=folder, on_step=on_step)
        return {**codec.state_dict(), **{f"o.{name}": one for name, one in objective.state_dict().items()}}, result

    whole, one = sitting(tmp_path / "whole")
    with pytest.raises(Killed):
        sitting(tmp_path / "parts", kill)
    again, other = sitting(tmp_path / "parts")
    assert other.resumed_from == 4 and one.losses == other.losses
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def test_a_few_steps_make_pictures_come_back_better(tmp_path: Path) -> None:
    codec = make(replace(PRESETS["debug"], has_line=True))
    codec.begin(views(20)["views"][0])
    pixels = views(20)["views"][0]

    def error() -> float:
        with torch.no_grad():
            return float((codec(pixels)[0] - pixels).abs().mean())

    before = error()
    train(codec, build(codec), stream(), plan=Plan(60, lr=3e-3), device=CPU, folder=tmp_path)
    assert error() < 0.9 * before
