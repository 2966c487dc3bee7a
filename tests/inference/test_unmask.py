"""Decoding in a few steps."""

from __future__ import annotations

import pytest
import torch
from holes import random_maskgit

from beholder.inference.unmask import UnmaskConfig, unmask
from beholder.types import UserError


def rows(count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(16, (count, 16), generator=generator)
    hidden = torch.rand(count, 16, generator=generator) < torch.linspace(0.1, 1.0, count)[:, None]
    return codes, hidden


@pytest.mark.parametrize("config", [UnmaskConfig(), UnmaskConfig(3, temperature=0.0), UnmaskConfig(40, guidance=3.0)])
def test_known_codes_are_never_changed_and_none_stays_hidden(config: UnmaskConfig) -> None:
    codes, hidden = rows()
    found = unmask(random_maskgit(), codes, hidden, config, classes=torch.zeros(5, dtype=torch.long))
    assert torch.equal(found[~hidden], codes[~hidden]) and int(found.max()) < 16


def test_what_lies_under_the_mask_is_not_looked_at() -> None:
    codes, hidden = rows()
    other = torch.where(hidden, (codes + 3) % 16, codes)
    model = random_maskgit()
    assert torch.equal(unmask(model, codes, hidden), unmask(model, other, hidden))


def test_a_row_beside_others_is_the_same_as_alone() -> None:
    codes, hidden = rows()
    model = random_maskgit()
    together = unmask(model, codes, hidden, seeds=range(7, 12))
    for row in range(5):
        alone = unmask(model, codes[row : row + 1], hidden[row : row + 1], seeds=[7 + row])
        assert torch.equal(together[row : row + 1], alone)


def test_another_seed_gives_another_picture_and_no_temperature_gives_one() -> None:
    codes, hidden = torch.zeros(1, 16, dtype=torch.long), torch.ones(1, 16, dtype=torch.bool)
    model = random_maskgit()
    assert not torch.equal(unmask(model, codes, hidden, seeds=[0]), unmask(model, codes, hidden, seeds=[1]))
    cold = UnmaskConfig(temperature=0.0)
    assert torch.equal(unmask(model, codes, hidden, cold, [0]), unmask(model, codes, hidden, cold, [1]))


def test_it_takes_as_many_looks_as_steps_and_no_more_than_hidden_codes() -> None:
    codes, hidden = torch.zeros(1, 16, dtype=torch.long), torch.zeros(1, 16, dtype=torch.bool)
    hidden[0, :3] = True
    for num_hidden, num_steps, looks in ((3, 40, 3), (16, 5, 5), (0, 5, 0)):
        model, calls = random_maskgit(), []
        model.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        unmask(model, codes, torch.arange(16)[None] < num_hidden, UnmaskConfig(num_steps))
        assert len(calls) == looks


def test_guidance_of_one_is_the_model_itself_and_more_follows_the_class_further() -> None:
    model, count = random_maskgit(), 400
    with torch.no_grad():  # one class likes one code a little
        model.bias.zero_()
        model.classes.weight.mul_(3)
    codes, hidden = torch.zeros(count, 16, dtype=torch.long), torch.ones(count, 16, dtype=torch.bool)
    classes = torch.zeros(count, dtype=torch.long)

    def shares(guidance: float) -> torch.Tensor:
        found = unmask(model, codes, hidden, UnmaskConfig(4, guidance=guidance), classes=classes)
        return torch.bincount(found.flatten(), minlength=16) / found.numel()

    free = torch.bincount(unmask(model, codes, hidden, UnmaskConfig(4)).flatten(), minlength=16) / (count * 16)
    near, far = ((shares(guidance) - free).abs().sum() for guidance in (1.0, 4.0))
    assert far > near


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"num_steps": 0}, "--steps 0"),
        ({"temperature": -1.0}, "--temperature -1"),
        ({"guidance": -0.5}, "--guidance -0.5"),
        ({"unrest": -1.0}, "unrest=-1"),
    ],
)
def test_values_out_of_range_are_told(values: dict[str, float], told: str) -> None:
    with pytest.raises(UserError, match=told):
        UnmaskConfig(**values)
