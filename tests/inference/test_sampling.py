"""Truths of drawing a token: what is kept, how often it comes, and that neighbours do not matter."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.inference.sampling import (
    GREEDY,
    SamplingConfig,
    choose,
    draw,
    keep_top_k,
    keep_top_p,
    penalise_repetition,
)
from beholder.types import UserError


def scores(num_rows: int = 3, num_tokens: int = 11, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(num_rows, num_tokens, generator=torch.Generator().manual_seed(seed))


def generators(num_rows: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + row) for row in range(num_rows)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_the_distribution_says(temperature: float) -> None:
    num_draws = 8_000
    shares = (scores(1)[0] / temperature).softmax(0)
    own = torch.Generator().manual_seed(0)
    rows = scores(1).expand(num_draws, -1)
    drawn = choose(rows, SamplingConfig(temperature=temperature), [own] * num_draws)
    found = drawn.bincount(minlength=11) / num_draws
    deviation = (shares * (1 - shares) / num_draws).sqrt()
    assert ((found - shares).abs() <= 4 * deviation + 1e-9).all()


def test_only_what_is_kept_is_drawn_in_unchanged_proportions() -> None:
    num_draws, logits = 8_000, scores(1)
    own = torch.Generator().manual_seed(1)
    drawn = choose(logits.expand(num_draws, -1), SamplingConfig(top_k=3), [own] * num_draws)
    kept = logits[0].topk(3).indices
    assert set(drawn.tolist()) == set(kept.tolist())
    found = drawn.bincount(minlength=11)[kept] / num_draws
    torch.testing.assert_close(found, logits[0][kept].softmax(0), rtol=0, atol=0.025)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), num_kept=st.integers(1, 14))
def test_top_k_keeps_the_k_highest_and_no_more(seed: int, num_kept: int) -> None:
    logits = scores(seed=seed).round()  # with equal ones
    kept = keep_top_k(logits, num_kept)
    is_kept = kept.isfinite()
    assert (is_kept.sum(1) == min(num_kept, 11)).all()
    assert torch.equal(kept[is_kept], logits[is_kept])
    for row in range(3):
        if not is_kept[row].all():
            assert logits[row][is_kept[row]].min() >= logits[row][~is_kept[row]].max()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), share=st.floats(0.01, 1.0))
def test_top_p_keeps_the_fewest_tokens_that_have_the_share(seed: int, share: float) -> None:
    logits = scores(seed=seed)
    is_kept = keep_top_p(logits, share).isfinite()
    for row, shares in zip(is_kept, logits.softmax(1), strict=True):
        assert row.any()
        assert shares[row].sum() >= share - 1e-6
        assert shares[row].sum() - shares[row].min() < share + 1e-6


def test_a_row_draws_the_same_beside_others_as_alone() -> None:
    logits, config = scores(), SamplingConfig(top_p=0.9)
    together = [choose(logits, config, generators(3, seed)) for seed in range(20)]
    alone = [
        torch.cat([choose(logits[row : row + 1], config, generators(1, seed + row)) for row in range(3)])
        for seed in range(20)
    ]
    assert torch.equal(torch.stack(together), torch.stack(alone))
    assert len({tuple(row.tolist()) for row in together}) > 1


def test_no_temperature_takes_the_most_likely() -> None:
    assert torch.equal(choose(scores(), GREEDY, generators(3)), scores().argmax(1))


def test_a_penalty_makes_what_was_seen_less_likely_and_nothing_else() -> None:
    logits = scores()
    seen = torch.zeros_like(logits, dtype=torch.bool)
    seen[:, ::2] = True
    found = penalise_repetition(logits, seen, 1.5)
    assert (found[seen] < logits[seen]).all()
    assert torch.equal(found[~seen], logits[~seen])
    assert torch.equal(penalise_repetition(logits, seen, 1.0), logits)


def test_what_cannot_come_is_never_drawn() -> None:
    logits = torch.full((1000, 5), -torch.inf)
    logits[:, 3] = -80.0
    assert (draw(logits, generators(1000)) == 3).all()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"temperature": -1.0}, "--temperature -1: "),
        ({"top_k": 0}, "--top-k 0: "),
        ({"top_p": 0.0}, "--top-p 0: "),
        ({"top_p": 1.1}, "--top-p 1.1: "),
        ({"repetition_penalty": 0.0}, "repetition_penalty=0.0"),
    ],
)
def test_values_out_of_range_are_told(values: dict[str, float], told: str) -> None:
    with pytest.raises(UserError, match=told):
        SamplingConfig(**values)  # type: ignore[arg-type]


def test_each_step_is_the_one_of_transformers() -> None:
    """On scores without equal ones, of which the reference keeps more than k."""
    process = pytest.importorskip("transformers.generation.logits_process", reason="the reference comes from it")
    logits, tokens = scores(num_tokens=40), torch.tensor([[1, 5, 5], [2, 3, 4], [0, 9, 30]])
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(1, tokens, True)
    penalised = process.RepetitionPenaltyLogitsProcessor(1.3)(tokens, logits.clone())
    assert torch.equal(penalise_repetition(logits, seen, 1.3), penalised)
    assert torch.equal(keep_top_k(logits, 7), process.TopKLogitsWarper(7)(tokens, logits))
    for share in (0.1, 0.5, 0.9, 0.99):
        assert torch.equal(keep_top_p(logits, share), process.TopPLogitsWarper(share)(tokens, logits))
