"""Masked visual tokens: what is hidden and what is asked."""

from __future__ import annotations

import pytest
import torch
from holes import random_maskgit

from beholder.objectives.masked_codes import MaskedCodes, MaskedCodesConfig, hide, share_hidden
from beholder.types import Objective


def test_it_follows_the_protocol() -> None:
    assert isinstance(MaskedCodes(), Objective)


def test_the_share_falls_from_all_to_nothing_as_a_cosine() -> None:
    shares = share_hidden(torch.tensor([0.0, 0.5, 1.0]))
    assert shares.tolist() == pytest.approx([1.0, 0.5**0.5, 0.0], abs=1e-6)


@pytest.mark.parametrize("block_share", [0.0, 1.0])
def test_some_is_always_hidden_and_the_mean_share_is_that_of_the_cosine(block_share: float) -> None:
    torch.manual_seed(0)
    hidden = hide(4000, (8, 8), block_share)
    counts = hidden.sum(1)
    assert counts.min() >= 1 and counts.max() == 64
    assert float(counts.float().mean()) / 64 == pytest.approx(2 / torch.pi, abs=0.03)


def test_a_block_is_one_rectangle_of_neighbours() -> None:
    torch.manual_seed(0)
    for row in hide(50, (8, 8), 1.0).view(50, 8, 8):
        rows, columns = row.any(1).nonzero()[:, 0], row.any(0).nonzero()[:, 0]
        box = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        rim = 2 * (rows[-1] - rows[0] + columns[-1] - columns[0] + 2)
        assert box - row.sum() <= rim  # the last ring of the rectangle may be begun and not closed


def test_a_model_that_knows_costs_nothing_and_what_is_not_hidden_is_not_asked() -> None:
    class Knowing(torch.nn.Module):
        config, hidden, no_class, no_word = random_maskgit().config, 16, 2, 0

        def forward(self, codes: torch.Tensor, **asked: torch.Tensor) -> torch.Tensor:
            """Right where the code is hidden, wrong elsewhere."""
            right = torch.nn.functional.one_hot(truth, 16) * 40.0
            return torch.where((codes == 16)[..., None], right, right.roll(1, -1))

    torch.manual_seed(0)
    truth = torch.randint(16, (8, 16))
    losses = MaskedCodes(MaskedCodesConfig(smoothing=0.0))(Knowing(), {"codes": truth})
    assert float(losses.total) < 1e-6 and losses.parts["accuracy"] == 1.0


def test_conditions_are_left_out_for_their_share() -> None:
    seen: list[dict[str, torch.Tensor]] = []

    class Listening(torch.nn.Module):
        config, hidden, no_class, no_word = random_maskgit().config, 16, 2, 8

        def forward(self, codes: torch.Tensor, **asked: torch.Tensor) -> torch.Tensor:
            seen.append(asked)
            return torch.zeros(*codes.shape, 16)

    torch.manual_seed(0)
    batch = {
        "codes": torch.zeros(6000, 16, dtype=torch.long),
        "classes": torch.ones(6000, dtype=torch.long),
        "captions": torch.ones(6000, 3, dtype=torch.long),
    }
    MaskedCodes()(Listening(), {name: batch[name] for name in ("codes", "classes")})
    assert set(seen[0]) == {"classes"}
    assert float((seen[0]["classes"] == 2).float().mean()) == pytest.approx(0.1, abs=0.02)
    MaskedCodes()(Listening(), batch)
    no_class, no_words = seen[1]["classes"] == 2, (seen[1]["captions"] == 8).all(1)
    assert float((no_class & no_words).float().mean()) == pytest.approx(0.1 + 0.9 * 0.01, abs=0.02)
    assert float(no_class.float().mean()) == pytest.approx(0.19, abs=0.02)


def test_a_few_steps_make_it_smaller() -> None:
    model, objective = random_maskgit().train(), MaskedCodes()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    patterns = torch.randint(16, (3, 16), generator=torch.Generator().manual_seed(0))
    totals = []
    for step in range(150):
        torch.manual_seed(step)
        losses = objective(model, {"codes": patterns.repeat(8, 1), "classes": torch.zeros(24, dtype=torch.long)})
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        totals.append(losses.parts["nats"])
    assert sum(totals[-10:]) < 0.6 * sum(totals[:10])
