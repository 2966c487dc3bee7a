"""Truths of writing from a source: it says what the reference says, reads the source once, and each row its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from beholder.inference.beams import BeamConfig, search_beams
from beholder.inference.generate import GenerationConfig, generate
from beholder.inference.sampling import SamplingConfig
from beholder.inference.source import WithSource, with_texts
from beholder.inference.suppression import NOTHING, Suppression
from beholder.models import t5 as t5_model
from beholder.models import whisper as whisper_model
from beholder.models.t5 import T5
from beholder.models.whisper import Whisper
from beholder.pretrained.huggingface.checkpoint import read_checkpoint
from beholder.types import UserError

TEXTS = [
    [7, 3, 44, 12, 9, 60, 5, 31, 8, 2, 17, 18, 55, 4, 23, 42, 9, 9, 61, 1],
    [5, 13, 21, 1],
    [33, 8, 19, 50, 6, 11, 1],
]
FORCED = (9, 40)
SUPPRESSION = Suppression(always=(3, 11, 17, 20, 58), first=(2, 30))


def loud(model: Any, seed: int = 0) -> Any:
    """With large weights, so that it does not say one token for ever."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim > 1:
                value.add_(0.3 * torch.randn(value.shape, generator=generator))
    return model.eval()


def sounds(num_rows: int = 3) -> Tensor:
    return torch.randn(num_rows, 8, 40, generator=torch.Generator().manual_seed(5))


@pytest.fixture(params=["t5", "whisper"])
def told(request: pytest.FixtureRequest) -> Callable[..., WithSource]:
    """Of rows that are chosen, a model that has read them."""
    torch.manual_seed(0)
    if request.param == "t5":
        t5 = loud(T5(replace(t5_model.PRESETS["debug"], is_tied=False, is_scaled=False)))
        return lambda *rows: with_texts(t5, [TEXTS[row] for row in rows])
    whisper = loud(Whisper(whisper_model.PRESETS["debug"]))
    return lambda *rows: WithSource(whisper, sounds()[list(rows)])


@torch.no_grad()
def test_every_token_is_the_most_likely_after_all_before_it(told: Callable[..., WithSource]) -> None:
    """Without cache, padding or batch."""
    both = told(0, 1, 2)
    found = generate(both, both.prompts(FORCED), GenerationConfig(12))
    assert len({tuple(row) for row in found}) == 3
    for number, row in enumerate(found):
        alone, tokens = told(number), [alone_start(both), *FORCED]
        for token in row:
            assert token == int(alone(torch.tensor([tokens]))[0, -1].argmax())
            tokens.append(token)


def alone_start(told: WithSource) -> int:
    return told.prompts()[0][0]


@pytest.mark.parametrize("stops", [(), (5, 7, 9, 33, 34, 35, 60)])
def test_a_row_says_beside_others_what_it_says_alone(told: Callable[..., WithSource], stops: tuple[int, ...]) -> None:
    """Greedily, sampled and by beams; rows end at different steps."""
    both = told(0, 1, 2)
    for sampling in (SamplingConfig(temperature=0), SamplingConfig(1.2, 0.9, 20, 0.95)):
        config = GenerationConfig(10, stops, sampling, SUPPRESSION)
        together = generate(both, both.prompts(FORCED), config, seed=7)
        alone = [generate(told(row), told(row).prompts(FORCED), config, seed=7 + row)[0] for row in range(3)]
        assert together == alone
    config = BeamConfig(4, 10, stops, suppression=SUPPRESSION)
    together = search_beams(both, both.prompts(FORCED), config)
    assert together == [search_beams(told(row), told(row).prompts(FORCED), config)[0] for row in range(3)]


def test_what_is_suppressed_is_never_told_and_what_is_only_first_is_told_later(
    told: Callable[..., WithSource],
) -> None:
    both = told(0, 1, 2)
    free = generate(both, both.prompts(), GenerationConfig(12))
    config = GenerationConfig(12, suppression=Suppression(always=tuple(row[3] for row in free)))
    assert not {row[3] for row in free} & {token for row in generate(both, both.prompts(), config) for token in row}
    first = Suppression(first=tuple(row[0] for row in free))
    bent = generate(both, both.prompts(), GenerationConfig(12, suppression=first))
    assert all(row[0] not in first.first for row in bent)
    outside = Suppression(always=(-1, 64, 50_000), first=(99_999,))
    assert generate(both, both.prompts(), GenerationConfig(12, suppression=outside)) == free


def test_what_is_only_not_first_may_come_second() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0]])
    suppression = Suppression(always=(2,), first=(1,))
    assert suppression.apply(scores, 1).tolist() == [[1.0, -torch.inf, -torch.inf]]
    assert suppression.apply(scores, 2).tolist() == [[1.0, 3.0, -torch.inf]]


def test_the_source_is_encoded_once_and_serves_many_runs(
    told: Callable[..., WithSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = told(0, 1)

    def encode(*_: Any) -> Tensor:
        raise AssertionError("the source was read again")

    monkeypatch.setattr(both.model, "encode", encode)
    first = generate(both, both.prompts(), GenerationConfig(5))
    assert (
        search_beams(both, both.prompts(), BeamConfig(1, 5))
        == first
        == generate(both, both.prompts(), GenerationConfig(5))
    )


def test_what_cannot_be_done_is_told(told: Callable[..., WithSource]) -> None:
    both = told(0, 1)
    with pytest.raises(UserError, match="3 prompts and a source of 2 rows"):
        generate(both, [[1], [1], [1]], GenerationConfig(2))
    t5 = T5(replace(t5_model.PRESETS["debug"], start_token=None))
    with pytest.raises(UserError, match="decoder_start_token_id"):
        with_texts(t5, TEXTS).prompts()
    with pytest.raises(UserError, match="Source 1 is empty"):
        with_texts(t5, [[1], []])
    with pytest.raises(UserError, match="There is no source"):
        with_texts(t5, [])
    whisper = WithSource(Whisper(whisper_model.PRESETS["debug"]), sounds(1))
    with pytest.raises(UserError, match="ask for at most 32"):
        generate(whisper, whisper.prompts(), GenerationConfig(33))


@pytest.mark.parametrize("version", ["t5 1.0", "t5 1.1"])
def test_t5_writes_what_the_reference_writes(version: str, tmp_path: Path) -> None:
    """Sources of three lengths, padded; greedily with a penalty so that no token comes twice, and by beams, with so
    many tokens that end a row that rows end early and late."""
    pytest.importorskip("transformers", reason="the reference models come from it")
    from parity.reference import save
    from parity.test_translators import t5

    reference = loud(t5(version), 3)
    told = with_texts(read_checkpoint(save(reference, tmp_path)).model, TEXTS)
    longest = max(map(len, TEXTS))
    source = {
        "input_ids": torch.tensor([[*text, *[0] * (longest - len(text))] for text in TEXTS]),
        "attention_mask": torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in TEXTS]),
    }
    penalised = SamplingConfig(1e3, temperature=0)
    varied = generate(told, told.prompts(), GenerationConfig(20, sampling=penalised))
    assert varied == reference_tokens(reference, source, 20, (), repetition_penalty=1e3)
    assert all(len(set(row)) == 20 for row in varied) and len({tuple(row) for row in varied}) == 3
    assert_same_with_stops(told, reference, source)


def test_whisper_writes_what_the_reference_writes(tmp_path: Path) -> None:
    """Its forced first tokens and those that are suppressed, always and at the beginning, as its files tell them."""
    transformers = pytest.importorskip("transformers", reason="the reference models come from it")
    from parity.reference import save
    from parity.test_translators import sound, whisper

    reference = loud(whisper(), 3)
    reference.generation_config = transformers.GenerationConfig(
        decoder_start_token_id=1, eos_token_id=2, pad_token_id=0, bos_token_id=2, is_multilingual=False,
        forced_decoder_ids=[[1, FORCED[0]], [2, FORCED[1]]], suppress_tokens=list(SUPPRESSION.always),
        begin_suppress_tokens=list(SUPPRESSION.first), return_timestamps=False, no_timestamps_token_id=FORCED[1],
    )  # fmt: skip
    found = read_checkpoint(save(reference, tmp_path))
    config = found.config
    assert (config.forced_tokens, config.suppressed_tokens) == (FORCED, SUPPRESSION.always)
    assert config.first_suppressed_tokens == SUPPRESSION.first
    told = WithSource(found.model, sound())
    assert_same_with_stops(told, reference, {"input_features": sound()}, FORCED, SUPPRESSION)


def assert_same_with_stops(
    told: WithSource,
    reference: Any,
    source: dict[str, Tensor],
    forced: tuple[int, ...] = (),
    suppression: Suppression = NOTHING,
) -> None:
    prompts = told.prompts(forced)
    for stops in ((2,), tuple(range(2, 60, 4))):
        found = generate(told, prompts, GenerationConfig(20, stops, suppression=suppression))
        assert found == reference_tokens(reference, source, 20, stops, forced, suppression), stops
        for exponent in (1.0, 0.0):
            config = BeamConfig(3, 14, stops, exponent, suppression)
            beams = {"num_beams": 3, "length_penalty": exponent}
            expected = reference_tokens(reference, source, 14, stops, forced, suppression, **beams)
            assert search_beams(told, prompts, config) == expected, (stops, exponent)


def reference_tokens(
    reference: Any,
    source: dict[str, Tensor],
    num_tokens: int,
    stops: tuple[int, ...],
    forced: tuple[int, ...] = (),
    suppression: Suppression = NOTHING,
    **settings: Any,
) -> list[list[int]]:
    """New tokens of each row, up to the first that ends it; without a cache, and by the search that all models share:
    Whisper's own goes on after the end."""
    from transformers import GenerationConfig as ReferenceConfig
    from transformers import GenerationMixin

    start = reference.config.decoder_start_token_id
    told = ReferenceConfig(
        decoder_start_token_id=start, do_sample=False, max_new_tokens=num_tokens, eos_token_id=list(stops) or None,
        pad_token_id=0, use_cache=False, suppress_tokens=list(suppression.always) or None,
        begin_suppress_tokens=list(suppression.first) or None, **settings,
    )  # fmt: skip
    reference.generation_config = ReferenceConfig()  # whose ends would take the place of none
    begun = torch.tensor([[start, *forced]] * len(next(iter(source.values()))))
    rows = GenerationMixin.generate(reference, **source, decoder_input_ids=begun, generation_config=told).tolist()
    rows = [row[begun.shape[1] :] for row in rows]
    ends = [next((place for place, token in enumerate(row) if token in stops), len(row)) for row in rows]
    return [row[: end + 1] for row, end in zip(rows, ends, strict=True)]
