"""Truths of writing on: rows do not depend on each other, every choice is the model's, and a row ends in time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from beholder.inference import reader
from beholder.inference.beams import BeamConfig, search_beams, search_several
from beholder.inference.generate import GenerationConfig, generate, stream
from beholder.inference.sampling import SamplingConfig
from beholder.models.gpt import GPT, PRESETS, GPTConfig
from beholder.trunk.position import RotaryConfig
from beholder.types import UserError

LEARNED = replace(PRESETS["debug"], is_tied=False)
ROTARY = replace(LEARNED, num_positions=None, context_length=40, trunk=replace(LEARNED.trunk, rotary=RotaryConfig()))
PROMPTS = [[3, 14, 15, 9, 2, 6, 5, 35, 8, 9, 7], [27, 18, 28], [31]]


@pytest.fixture(params=["learned", "rotary"])
def model(request: pytest.FixtureRequest) -> GPT:
    return loud(LEARNED if request.param == "learned" else ROTARY)


def loud(config: GPTConfig) -> GPT:
    """With large weights and a head of its own, so that it does not say one token for ever."""
    torch.manual_seed(0)
    built = GPT(config)
    with torch.no_grad():
        for value in built.parameters():
            if value.ndim > 1:
                value.add_(0.3 * torch.randn_like(value))
    return built.eval()


@torch.no_grad()
def by_hand(model: GPT, prompt: list[int], num_tokens: int) -> list[int]:
    """Without cache, padding or batch."""
    tokens = list(prompt)
    for _ in range(num_tokens):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    return tokens[len(prompt) :]


def log_probability(model: GPT, prompt: list[int], told: list[int]) -> float:
    with torch.no_grad():
        likely = model(torch.tensor([prompt + told]))[0].log_softmax(-1)
    return sum(float(likely[len(prompt) + place - 1, token]) for place, token in enumerate(told))


def test_every_token_is_the_most_likely_after_all_before_it(model: GPT) -> None:
    found = generate(model, PROMPTS, GenerationConfig(10))
    assert found == [by_hand(model, prompt, 10) for prompt in PROMPTS]
    assert len({tuple(row) for row in found}) == 3


@pytest.mark.parametrize(
    "sampling",
    [SamplingConfig(temperature=0), SamplingConfig(1.3, 0.8, 20, 0.95), SamplingConfig(1.5, temperature=0)],
    ids=["greedy", "sampled", "penalised"],
)
def test_a_row_says_beside_others_what_it_says_alone(model: GPT, sampling: SamplingConfig) -> None:
    config = GenerationConfig(12, stops=(1, 5, 11, 40), sampling=sampling)
    together = generate(model, PROMPTS, config, seed=7)
    alone = [generate(model, [prompt], config, seed=7 + row)[0] for row, prompt in enumerate(PROMPTS)]
    assert together == alone


def test_the_same_seed_says_the_same_and_another_something_else(model: GPT) -> None:
    config = GenerationConfig(12, sampling=SamplingConfig())
    first = generate(model, PROMPTS, config, seed=1)
    assert generate(model, PROMPTS, config, seed=1) == first
    assert generate(model, PROMPTS, config, seed=100) != first


def test_a_stop_token_ends_its_row_and_no_other(model: GPT) -> None:
    whole = generate(model, PROMPTS, GenerationConfig(10))
    stop = next(token for token in whole[0][2:] if token not in whole[0][:2])
    ended = generate(model, PROMPTS, GenerationConfig(10, (stop,)))
    for row, full in zip(ended, whole, strict=True):
        assert row == (full[: full.index(stop) + 1] if stop in full else full)
    assert ended[0][-1] == stop and len(ended[0]) < 10


def test_a_penalty_for_repetition_leaves_no_token_twice(model: GPT) -> None:
    config = GenerationConfig(12, sampling=SamplingConfig(repetition_penalty=1e6, temperature=0))
    for prompt, told in zip(PROMPTS, generate(model, PROMPTS, config), strict=True):
        assert len(set(told)) == len(told) and not set(told) & set(prompt)


def test_tokens_are_told_one_by_one(model: GPT) -> None:
    whole = generate(model, PROMPTS, GenerationConfig(6))
    stop = whole[1][2]
    assert stop not in whole[1][:2]
    steps = stream(model, PROMPTS, GenerationConfig(6, (stop,)))
    assert next(steps) == [row[0] for row in whole]
    told = [next(steps) for _ in range(3)]
    assert told[1][1] == stop and told[2][1] is None


def test_long_prompts_are_read_in_chunks(model: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = generate(model, PROMPTS, GenerationConfig(6))
    monkeypatch.setattr(reader, "_CHUNK", 4)
    assert generate(model, PROMPTS, GenerationConfig(6)) == whole


def test_one_beam_is_greedy_and_more_are_likelier(model: GPT) -> None:
    greedy = generate(model, PROMPTS, GenerationConfig(8))
    assert search_beams(model, PROMPTS, BeamConfig(1, 8)) == greedy
    wide = search_beams(model, PROMPTS, BeamConfig(16, 8))
    values = [
        (log_probability(model, prompt, best), log_probability(model, prompt, first))
        for prompt, best, first in zip(PROMPTS, wide, greedy, strict=True)
    ]
    assert all(best >= first - 1e-4 for best, first in values)
    assert wide != greedy


def test_as_many_beams_as_there_are_texts_find_the_likeliest_text() -> None:
    small = loud(replace(LEARNED, vocabulary_size=6))
    texts = [[a, b, c] for a in range(6) for b in range(6) for c in range(6)]
    best = max(texts, key=lambda text: log_probability(small, [1, 2], text))
    assert search_beams(small, [[1, 2]], BeamConfig(36, 3)) == [best]


def test_beams_that_end_all_at_once_leave_what_they_found(model: GPT) -> None:
    """Whatever ends a text, none is told that goes on after its end."""

    def ends(tokens: list[int]) -> bool:
        return tokens[-1] % 3 != 0

    for num_beams in (2, 3, 5):
        for found in search_several(model, PROMPTS, BeamConfig(num_beams, 6, ends=ends)):
            assert 1 <= len(found) <= num_beams and all(np.isfinite(worth) for worth, _ in found)
            assert [worth for worth, _ in found] == sorted((worth for worth, _ in found), reverse=True)
            for _, tokens in found:
                assert len(tokens) == 6 or ends(tokens)
                assert not any(ends(tokens[:length]) for length in range(1, len(tokens)))


def test_beams_of_a_row_do_not_depend_on_its_neighbours(model: GPT) -> None:
    config = BeamConfig(5, 8, stops=(1, 5, 11, 40))
    together = search_beams(model, PROMPTS, config)
    assert together == [search_beams(model, [prompt], config)[0] for prompt in PROMPTS]


def test_a_model_is_not_asked_beyond_what_it_reads(model: GPT) -> None:
    """The last token is told and never read."""
    room = (model.longest or 0) - len(PROMPTS[0]) + 1
    assert len(generate(model, PROMPTS, GenerationConfig(room))[0]) == room
    with pytest.raises(UserError, match=f"ask for at most {room}"):
        stream(model, PROMPTS, GenerationConfig(room + 1))
    with pytest.raises(UserError, match="shorten the prompt"):
        generate(model, [[1] * 50], GenerationConfig(1))


def test_what_cannot_be_done_is_told_before_it_is_begun(model: GPT) -> None:
    with pytest.raises(UserError, match="Prompt 1 is empty"):
        stream(model, [[1], []])
    with pytest.raises(UserError, match="num_tokens=0"):
        stream(model, [[1]], GenerationConfig(0))
    with pytest.raises(UserError, match="num_beams=0"):
        search_beams(model, [[1]], BeamConfig(0))
    assert generate(model, []) == [] and search_beams(model, []) == []


def test_only_what_is_allowed_at_a_step_is_chosen(model: GPT) -> None:
    def allowed(step: int) -> torch.Tensor:
        return torch.arange(64) % 4 == step % 4

    for sampling in (GenerationConfig().sampling, SamplingConfig(temperature=5.0)):
        rows = generate(model, PROMPTS, GenerationConfig(12, sampling=sampling, allowed=allowed))
        assert [[token % 4 for token in row] for row in rows] == [[step % 4 for step in range(1, 13)]] * 3
