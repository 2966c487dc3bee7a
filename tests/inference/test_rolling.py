"""Truths of rows that begin and end at any time: each says what it says alone, and costs nothing once it is over."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from beholder.inference.generate import GenerationConfig, generate
from beholder.inference.rolling import Rolling, Row
from beholder.inference.sampling import SamplingConfig
from beholder.models.gpt import GPT, PRESETS, GPTConfig
from beholder.models.lvm import llama_trunk
from beholder.models.vision_language import VisionLanguage, VisionLanguageConfig, WithImages
from beholder.types import UserError

DRAWN = SamplingConfig(temperature=1.0, top_p=0.9)
LLAMA = GPTConfig(64, None, context_length=64, trunk=llama_trunk(32, 2, 2))
PROMPTS = [[3, 4, 5], [7], [9, 8, 7, 6, 5, 4, 3], [11, 12], [20, 21, 22, 23]]


def model_of(config: GPTConfig) -> GPT:
    torch.manual_seed(0)
    model = GPT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    return model


def alone(model: torch.nn.Module, row: Row) -> list[int]:
    return generate(model, [row.prompt], row.config, row.seed)[0]


@pytest.mark.parametrize("config", [LLAMA, PRESETS["debug"]], ids=["rotary", "table of positions"])
def test_each_row_says_what_it_says_alone_whenever_it_begins(config: GPTConfig) -> None:
    model = model_of(config)
    rolling = Rolling(model)
    ways = [SamplingConfig(temperature=0), DRAWN]
    rows = [
        Row(prompt, GenerationConfig(6 + 3 * number, (5,), ways[number % 2]), number)
        for number, prompt in enumerate(PROMPTS)
    ]
    late = list(rows)
    while late or rolling.num_rows:
        if late:
            rolling.begin(late.pop(0))
            if len(late) == 2:
                rolling.begin(late.pop(0))  # two at once
        rolling.step()
        rolling.step()
    assert [row.said for row in rows] == [alone(model, row) for row in rows]
    assert all(row.is_over for row in rows)


def test_a_row_that_nobody_wants_changes_no_other() -> None:
    model = model_of(LLAMA)
    rolling = Rolling(model)
    rows = [Row(prompt, GenerationConfig(12, (), DRAWN), number) for number, prompt in enumerate(PROMPTS[:3])]
    for row in rows:
        rolling.begin(row)
    rolling.step()
    rolling.drop(rows[1])
    assert rolling.num_rows == 2
    while rolling.num_rows:
        assert rows[1] not in rolling.step()
    assert [row.said for row in rows[::2]] == [alone(model, row) for row in rows[::2]]
    rolling.begin(rows[1])
    rolling.drop(rows[1])
    assert rolling.num_rows == 0 and rolling.step() == []


@pytest.mark.parametrize("fusion", ["linear", "gated", "pointing"])
def test_rows_before_images_say_what_they_say_alone(fusion: str) -> None:
    torch.manual_seed(0)
    config = VisionLanguageConfig(
        "gated" if fusion == "gated" else "linear", 8, 3, LLAMA, points=fusion == "pointing"
    )  # fmt: skip
    model = VisionLanguage(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    places = model.places_per_image

    def bind(rows: list[Row]) -> WithImages:
        most = max(len(row.shown) for row in rows if row.shown is not None)
        padded = [torch.cat([row.shown, row.shown[:1].expand(most - len(row.shown), -1, -1)]) for row in rows]  # type: ignore[index]
        return WithImages(model, torch.stack(padded))

    rolling = Rolling(WithImages(model, None), bind)  # type: ignore[arg-type]
    rows = []
    for number in range(4):
        shown = torch.randn(1 + number % 2, 3, 8)
        marks = [64 + image * (places + 1) + place for image in range(len(shown)) for place in range(places)]
        rows.append(Row([*marks, *PROMPTS[number]], GenerationConfig(8, (5,)), number, shown))
    for row in rows:
        rolling.begin(row)
        rolling.step()
    while rolling.num_rows:
        rolling.step()
    assert [row.said for row in rows] == [alone(bind([row]), row) for row in rows]


def test_a_long_prompt_and_a_long_answer_fit_side_by_side_where_each_fits_alone() -> None:
    model = model_of(LLAMA)
    rolling = Rolling(model)
    rows = [Row([3] * 50, GenerationConfig(5), 1), Row([4], GenerationConfig(60), 2)]
    for row in rows:
        rolling.begin(row)
    while rolling.num_rows:
        rolling.step()
    assert [row.said for row in rows] == [alone(model, row) for row in rows]


def test_a_prompt_without_room_is_refused_before_it_begins() -> None:
    rolling = Rolling(model_of(LLAMA))
    with pytest.raises(UserError, match="longer than the 64"):
        rolling.begin(Row([1] * 60, GenerationConfig(20)))
    assert rolling.num_rows == 0


def test_words_end_a_row_too() -> None:
    model = model_of(LLAMA)
    config = replace(GenerationConfig(10), ends=lambda tokens: len(tokens) == 3)
    row = Row([1, 2], config)
    rolling = Rolling(model)
    rolling.begin(row)
    while rolling.num_rows:
        rolling.step()
    assert row.said == alone(model, row) and len(row.said) == 3
