"""Truths of faster writing: the same tokens in fp32, nearly the same scores in fewer bits, however rows come and go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from processors import needs_packed_bf16
from torch import nn

from beholder.backends import decode
from beholder.backends.decode import choose_decoder, prepare_decoder
from beholder.backends.libraries import LIBRARIES
from beholder.backends.outputs import BOUNDS, Precision, distance
from beholder.inference import reader
from beholder.inference.beams import BeamConfig, search_beams
from beholder.inference.generate import GenerationConfig, generate
from beholder.inference.sampling import SamplingConfig
from beholder.models.gpt import GPT, PRESETS, GPTConfig
from beholder.trunk.cache import Cache
from beholder.trunk.experts import ExpertsConfig
from beholder.trunk.mask import MaskConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.position import RotaryConfig
from beholder.types import UserError

TIED = PRESETS["debug"]
GATED = replace(
    TIED, is_tied=False, num_positions=None, context_length=40,
    trunk=replace(
        TIED.trunk, rotary=RotaryConfig(), mlp=MLPConfig(activation="silu", is_gated=True, has_bias=False),
        attention=replace(TIED.trunk.attention, num_heads=4, num_key_heads=2, biases=("query",)),
        mask=MaskConfig(is_causal=True, window=7),
    ),
)  # fmt: skip
SLOPED = replace(TIED, num_positions=None, context_length=40, trunk=replace(TIED.trunk, distance="alibi"))
CONFIGS = {"tied": TIED, "gated": GATED, "sloped": SLOPED}
PROMPTS = [[3, 14, 15, 9, 2, 6, 5, 35, 8, 9, 7], [27, 18, 28], [31]]


def loud(config: GPTConfig) -> GPT:
    torch.manual_seed(0)
    built = GPT(config)
    with torch.no_grad():
        for value in built.parameters():
            value.add_((0.3 if value.ndim > 1 else 0.1) * torch.randn_like(value))
    return built.eval()


@pytest.fixture(scope="module", params=CONFIGS)
def pair(request: pytest.FixtureRequest) -> tuple[GPT, nn.Module]:
    """A model, and the same through OpenVINO."""
    pytest.importorskip("openvino")
    model = loud(CONFIGS[request.param])
    return model, prepare_decoder(model, "openvino")


@pytest.mark.parametrize("num_rows", [1, 3])
@pytest.mark.parametrize("name", CONFIGS)
def test_packed_weights_say_the_same(name: str, num_rows: int) -> None:
    model = loud(CONFIGS[name])
    kept = [value.clone() for value in model.parameters()]
    packed = prepare_decoder(model, "packed", "fp32", num_rows)
    assert generate(packed, PROMPTS, GenerationConfig(12)) == generate(model, PROMPTS, GenerationConfig(12))
    assert all(torch.equal(value, old) for value, old in zip(model.parameters(), kept, strict=True))


@pytest.mark.parametrize("backend", ["plain", pytest.param("packed", marks=needs_packed_bf16)])
@pytest.mark.parametrize("name", CONFIGS)
def test_bfloat16_gives_nearly_the_same_scores(name: str, backend: Literal["plain", "packed"]) -> None:
    model, tokens = loud(CONFIGS[name]), torch.randint(64, (2, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = prepare_decoder(model, backend, "bf16")(tokens)
        assert 0 < distance([found], [model(tokens)]) < 0.05


class TestOpenVINO:
    @pytest.mark.parametrize(
        "sampling",
        [SamplingConfig(temperature=0), SamplingConfig(1.3, 0.8, 20, 0.95)],
        ids=["greedy", "sampled"],
    )
    def test_ragged_prompts_are_continued_alike_and_rows_end_alike(
        self, pair: tuple[GPT, nn.Module], sampling: SamplingConfig
    ) -> None:
        model, fast = pair
        whole = generate(model, PROMPTS, GenerationConfig(16, sampling=sampling), seed=7)
        stops = next((token,) for token in whole[0] if token not in whole[1])
        config = GenerationConfig(16, stops, sampling)
        told = generate(model, PROMPTS, config, seed=7)
        assert len({len(row) for row in told}) > 1, "rows end at different times, or this proves little"
        assert generate(fast, PROMPTS, config, seed=7) == told

    def test_a_prompt_may_be_read_in_parts(self, pair: tuple[GPT, nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
        model, fast = pair
        whole = generate(model, PROMPTS, GenerationConfig(6))
        monkeypatch.setattr(reader, "_CHUNK", 4)
        assert generate(fast, PROMPTS, GenerationConfig(6)) == whole

    def test_beams_are_the_same(self, pair: tuple[GPT, nn.Module]) -> None:
        model, fast = pair
        config = BeamConfig(4, 10, stops=(1, 5, 11, 40))
        assert search_beams(fast, PROMPTS, config) == search_beams(model, PROMPTS, config)

    def test_texts_that_are_written_in_turn_do_not_mix(self, pair: tuple[GPT, nn.Module]) -> None:
        model, fast = pair
        texts = torch.tensor([PROMPTS[0], PROMPTS[0][::-1]])
        caches = [Cache(11), Cache(11)]
        with torch.no_grad():
            for place in range(11):
                for text, cache in zip(texts, caches, strict=True):
                    found = fast(text[None, place : place + 1], cache=cache)[:, -1]
                    torch.testing.assert_close(found, model(text[None, : place + 1])[:, -1], rtol=1e-3, atol=1e-3)
        with pytest.raises(ValueError, match="12 tokens do not fit into a cache for 11"):
            fast(texts[:1, :1], cache=caches[0])

    @pytest.mark.parametrize("precision", ["bf16", pytest.param("int8", marks=pytest.mark.slow)])
    def test_fewer_bits_give_nearly_the_same_scores(self, precision: Precision) -> None:
        for library in LIBRARIES["openvino", precision]:
            pytest.importorskip(library)
        model, tokens = loud(GATED), torch.randint(64, (2, 20), generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            found = prepare_decoder(model, "openvino", precision)(tokens)
            assert 0 < distance([found[:, -1]], [model(tokens)[:, -1]]) < BOUNDS[precision]


def _sleepy(model: nn.Module, seconds: float) -> nn.Module:
    import time

    def wait(*told: Any) -> None:
        time.sleep(seconds)

    model.register_forward_pre_hook(wait)
    return model


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, float]]:
    """Seconds that "plain" and "packed" sleep in a step; OpenVINO is not there."""
    asleep = {"plain": 0.02, "packed": 0.0}
    for name in ("plain", "packed"):
        build = decode._BUILDS[name, "fp32"]  # type: ignore[index]

        def sleepy(model: GPT, num_rows: int, name: str = name, build: decode.Build = build) -> nn.Module:
            return _sleepy(build(model, num_rows), asleep[name])

        monkeypatch.setitem(decode._BUILDS, (name, "fp32"), sleepy)  # type: ignore[arg-type]
    monkeypatch.setitem(LIBRARIES, ("openvino", "fp32"), ("no_such_library",))
    yield asleep


def test_auto_takes_what_was_fastest_here(ways: dict[str, float]) -> None:
    trials = choose_decoder(loud(TIED), num_rows=2)
    assert [one.backend for one in trials] == ["packed", "plain", "openvino"]
    assert "no_such_library" in (trials[2].refused or "") and trials[2].model is None
    assert trials[0].seconds < trials[1].seconds and trials[0].loss < 1e-4  # type: ignore[operator]
    ways.update(plain=0.0, packed=0.02)
    assert choose_decoder(loud(TIED))[0].backend == "plain"
    model = loud(TIED)
    assert generate(prepare_decoder(model, "auto"), PROMPTS, GenerationConfig(9)) == generate(
        model, PROMPTS, GenerationConfig(9)
    )


def test_what_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model = loud(TIED)
    with torch.no_grad():
        model.trunk.norm.weight[3] = torch.nan
    with pytest.raises(UserError, match="lie nan away"):
        prepare_decoder(model)
    with pytest.raises(UserError, match="'plain' does not write in int8; choose openvino or auto"):
        prepare_decoder(loud(TIED), "plain", "int8")
    monkeypatch.setitem(LIBRARIES, ("openvino", "fp32"), ())
    for config, told in ((ExpertsConfig(), "no graph for a mixture of experts"), (None, "read text alone")):
        trunk = replace(GATED.trunk, experts=config, source_width=None if config else 8)
        with pytest.raises(UserError, match=told):
            prepare_decoder(GPT(replace(GATED, trunk=trunk)), "openvino")
    monkeypatch.setitem(LIBRARIES, ("openvino", "int8"), ("no_such_library",))
    with pytest.raises(UserError, match=r"No backend writes .* no_such_library, .*pip install"):
        prepare_decoder(loud(TIED), "auto", "int8")
