"""Truths of Flamingo: who sees which image, and that a shut gate changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from beholder.config import from_json, to_json
from beholder.models.flamingo import PRESETS, Flamingo, FlamingoConfig, nearest_image
from beholder.models.gpt import GPT
from beholder.trunk.block import Context
from beholder.trunk.mask import Mask
from beholder.trunk.resampler import Resampler, ResamplerConfig
from beholder.types import UserError

IMAGE = 63


def flamingo(gate: float = 0.5) -> Flamingo:
    torch.manual_seed(0)
    model = Flamingo(PRESETS["debug"]).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("_gate"):
                value.fill_(gate)
    return model


def prompt() -> tuple[torch.Tensor, torch.Tensor]:
    """A text of 9 tokens with images at the places 2 and 6, and its pixels, wider than high."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 60, (1, 9), generator=generator)
    tokens[:, [2, 6]] = IMAGE
    return tokens, torch.randn(1, 2, 3, 12, 20, generator=generator)


def test_a_token_looks_at_the_last_image_at_or_before_it() -> None:
    is_image = torch.tensor([[0, 1, 0, 1, 0], [0, 0, 0, 0, 1]], dtype=torch.bool)
    first = [[False, False], [True, False], [True, False], [False, True], [False, True]]
    second = [[False, False]] * 4 + [[True, False]]
    assert nearest_image(is_image, 2).tolist() == [first, second]
    later = nearest_image(is_image[:, :3], 2, num_before=torch.tensor([1, 2]))
    assert later.tolist() == [[[True, False], [False, True], [False, True]], [[False, True]] * 3]
    with pytest.raises(UserError, match="names 2 images and 1 are given"):
        nearest_image(is_image, 1)


def test_an_image_changes_nothing_before_its_place() -> None:
    model, (tokens, pixels) = flamingo(), prompt()
    looks_at, other = nearest_image(tokens == IMAGE, 2), pixels.clone()
    other[:, 1] += 1.0
    before, after = (model(tokens, model.see(one), looks_at=looks_at) for one in (pixels, other))
    assert torch.equal(before[:, :6], after[:, :6])
    assert ((before - after)[:, 6:].abs().amax(2) > 0).all()


def test_a_gated_block_shows_a_token_its_own_image_only() -> None:
    model, (tokens, pixels) = flamingo(), prompt()
    looks_at = nearest_image(tokens == IMAGE, 2)
    images = model.see(pixels).detach().requires_grad_(True)  # 1 2 S D
    allowed = looks_at.repeat_interleave(images.shape[2], dim=2)[:, None]
    context = Context(source=images.flatten(1, 2), source_mask=Mask(allowed))
    x = model.language.trunk.looks[0](model.language.embed.tokens(tokens), context)
    for token, seen in ((1, ()), (2, (0,)), (5, (0,)), (6, (1,)), (8, (1,))):
        (grad,) = torch.autograd.grad(x[0, token].pow(2).sum(), images, retain_graph=True)
        assert tuple(index for index in (0, 1) if grad[0, index].any()) == seen


def test_with_shut_gates_the_language_model_is_what_it_was_bit_for_bit() -> None:
    model, (tokens, pixels) = flamingo(0.0), prompt()
    config = model.config.language
    plain = GPT(replace(config, trunk=replace(config.trunk, gated=None)))
    plain.load_state_dict({name: value for name, value in model.language.state_dict().items() if "looks." not in name})
    assert torch.equal(model(tokens, model.see(pixels)), plain(tokens))
    assert not torch.equal(flamingo(0.1)(tokens, model.see(pixels)), plain(tokens))


def test_no_image_is_an_image_that_nobody_looks_at() -> None:
    model, (tokens, pixels) = flamingo(), prompt()
    nobody = torch.zeros(1, 9, 2, dtype=torch.bool)
    torch.testing.assert_close(model(tokens), model(tokens, model.see(pixels), looks_at=nobody))


def test_a_table_of_looks_that_does_not_fit_is_refused() -> None:
    model, (tokens, pixels) = flamingo(), prompt()
    with pytest.raises(UserError, match="which of 2 images"):
        model(tokens, model.see(pixels), looks_at=torch.ones(1, 9, 3, dtype=torch.bool))


def test_what_is_not_real_of_a_source_is_not_read_whatever_a_token_may_look_at() -> None:
    model, (tokens, pixels) = flamingo(), prompt()
    source = model.see(pixels).flatten(1, 2)
    is_real = torch.arange(source.shape[1])[None] < 7
    told = {"looks_at": torch.ones(1, 9, source.shape[1], dtype=torch.bool), "source_is_real": is_real}
    other = source.masked_fill(~is_real[:, :, None], 3.0)
    assert torch.equal(model.language(tokens, source=source, **told), model.language(tokens, source=other, **told))


def test_it_learns_to_name_what_it_sees_with_everything_finished_left_as_it_was() -> None:
    model = flamingo(0.0)
    model.freeze_finished()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.Generator().manual_seed(3)
    names = torch.randint(0, 4, (16,), generator=generator)
    pixels = names[:, None, None, None, None] - 1.5 + 0.1 * torch.randn(16, 1, 3, 16, 16, generator=generator)
    tokens = torch.full((16, 1), IMAGE)
    optimizer = torch.optim.Adam([value for value in model.parameters() if value.requires_grad], lr=0.01)
    for _ in range(40):
        loss = F.cross_entropy(model(tokens, model.see(pixels))[:, 0], names)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model(tokens, model.see(pixels))[:, 0].argmax(1) == names).float().mean() > 0.9
    new = ("resampler.", "language.trunk.looks.")
    assert all(
        torch.equal(value, before[name]) for name, value in model.state_dict().items() if not name.startswith(new)
    )


def test_only_what_is_new_learns_and_behind_a_shut_gate_only_the_gate() -> None:
    (tokens, pixels), found = prompt(), {}
    for gate in (0.0, 0.5):
        model = flamingo(gate)
        model.freeze_finished()
        model(tokens, model.see(pixels)).pow(3).sum().backward()
        found[gate] = {name for name, value in model.named_parameters() if value.grad is not None and value.grad.any()}
    new = {name for name, _ in model.named_parameters() if name.startswith(("resampler.", "language.trunk.looks."))}
    assert found[0.5] == new
    assert found[0.0] == {name for name in new if name.endswith("_gate")}


def test_a_resampler_makes_any_number_of_tokens_few_whatever_their_order() -> None:
    torch.manual_seed(0)
    model, source = Resampler(ResamplerConfig(num_queries=5, depth=2), 24), torch.randn(2, 30, 24)
    seen = model(source)
    assert seen.shape == (2, 5, 24) and model(source[:, :7]).shape == (2, 5, 24)
    torch.testing.assert_close(model(source[:, torch.randperm(30)]), seen, rtol=1e-4, atol=1e-5)
    assert (model(source + torch.randn(2, 30, 24)) - seen).abs().max() > 1e-4


def test_a_preset_survives_json() -> None:
    for config in PRESETS.values():
        assert from_json(FlamingoConfig, to_json(config)) == config
