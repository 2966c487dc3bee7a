"""Families that read from left to right are the reference's equals, and every switch that makes them so is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from beholder.checkpoint.files import load_tensors, save_tensors
from beholder.pretrained.huggingface.checkpoint import read_checkpoint
from beholder.pretrained.huggingface.families import FAMILIES
from beholder.types import UserError

transformers = pytest.importorskip("transformers", reason="the reference models come from it")

from parity.continuation import CONTINUATIONS  # noqa: E402 (after the check above)
from parity.contract import TRUTHS, Pair, make_pair  # noqa: E402
from parity.mutation import judge, known_invisible  # noqa: E402
from parity.reference import save  # noqa: E402

_SMALL = {"vocab_size": 61, "num_hidden_layers": 2, "eos_token_id": None, "bos_token_id": None, "pad_token_id": None}
_WIDE = {**_SMALL, "hidden_size": 48, "num_attention_heads": 6}
_ROOT_MEAN = {**_WIDE, "intermediate_size": 76, "max_position_embeddings": 64, "rms_norm_eps": 3e-5}


def _gpt2() -> Any:
    config = transformers.GPT2Config(
        vocab_size=61, n_positions=64, n_embd=48, n_layer=2, n_head=6, layer_norm_epsilon=3e-5, bos_token_id=None,
        eos_token_id=None,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def _opt() -> Any:
    return transformers.OPTForCausalLM(transformers.OPTConfig(**_WIDE, ffn_dim=100, max_position_embeddings=64))


def _bloom(num_heads: int) -> Any:
    config = transformers.BloomConfig(**_SMALL, hidden_size=48, num_attention_heads=num_heads, layer_norm_epsilon=3e-5)
    return transformers.BloomForCausalLM(config)


def _neox(is_parallel: bool) -> Any:
    values = {**_WIDE, "num_attention_heads": 3}  # a quarter of a head is four numbers: two pairs that turn
    config = transformers.GPTNeoXConfig(
        **values, intermediate_size=100, max_position_embeddings=64, layer_norm_eps=3e-5,
        use_parallel_residual=is_parallel,
    )  # fmt: skip
    return transformers.GPTNeoXForCausalLM(config)


def _llama(**values: Any) -> Any:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**_ROOT_MEAN, **values}))


def _smollm2() -> Any:
    return _llama(
        hidden_size=72, num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e5},
    )  # fmt: skip


def _qwen2() -> Any:
    config = transformers.Qwen2Config(
        **_ROOT_MEAN, num_key_value_heads=2, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )  # fmt: skip
    return transformers.Qwen2ForCausalLM(config)


def _qwen3() -> Any:
    config = transformers.Qwen3Config(**_ROOT_MEAN, num_key_value_heads=3, head_dim=12)
    return transformers.Qwen3ForCausalLM(config)


def _mixtral(window: int | None) -> Any:
    config = transformers.MixtralConfig(
        **_ROOT_MEAN, num_key_value_heads=2, num_local_experts=5, num_experts_per_tok=2, sliding_window=window
    )
    return transformers.MixtralForCausalLM(config)


CASES: dict[str, Callable[[], Any]] = {
    "gpt2": _gpt2,
    "opt": _opt,
    "bloom-4-heads": lambda: _bloom(4),
    "bloom-6-heads": lambda: _bloom(6),
    "neox-parallel": lambda: _neox(True),
    "neox-in-turn": lambda: _neox(False),
    "llama": _llama,
    "smollm2": _smollm2,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "mixtral": lambda: _mixtral(None),
    "mixtral-window": lambda: _mixtral(7),
}


@pytest.fixture(scope="module", params=CASES, ids=str)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(CASES[request.param](), tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("truth", TRUTHS + CONTINUATIONS, ids=lambda truth: truth.__name__)
def test_it_is_true(pair: Pair, truth: Callable[[Pair], None]) -> None:
    truth(pair)


def test_every_switch_that_is_turned_is_noticed(pair: Pair) -> None:
    """All but the one that mathematics hides; that one is why tensors are counted too."""
    verdict = judge(pair)
    assert verdict.missed == known_invisible(pair.config)
    assert len(verdict.seen) >= 12 and len(verdict.refused) >= 8, verdict


@pytest.mark.parametrize("name", ["gpt2", "opt", "bloom-6-heads", "smollm2"])
def test_a_checkpoint_of_the_bare_model_is_read_too(name: str, tmp_path: Path) -> None:
    pair = make_pair(CASES[name](), tmp_path / "whole")
    found = read_checkpoint(save(pair.reference.base_model, tmp_path / "bare")).model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in pair.ours.state_dict().items())


@pytest.mark.parametrize("name", ["gpt2", "opt", "bloom-6-heads", "smollm2"])
def test_a_head_that_is_the_table_again_must_be_the_table(name: str, tmp_path: Path) -> None:
    pair = make_pair(CASES[name](), tmp_path)
    path = tmp_path / "model.safetensors"
    table = pair.ours.state_dict()["embed.tokens.weight"]
    save_tensors(path, {**load_tensors(path), "lm_head.weight": table.clone()})
    assert torch.equal(read_checkpoint(tmp_path).model.state_dict()["embed.tokens.weight"], table)
    save_tensors(path, {**load_tensors(path), "lm_head.weight": table + 1})
    with pytest.raises(UserError, match=r"lm_head\.weight is not its"):
        read_checkpoint(tmp_path)


def test_both_names_of_a_head_of_its_own_are_known(tmp_path: Path) -> None:
    pair = make_pair(CASES["neox-parallel"](), tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_tensors(path)
    first, second = "embed_out.weight", "lm_head.weight"
    head = tensors.pop(first if first in tensors else second)
    for name in (first, second):
        save_tensors(path, {**tensors, name: head})
        assert torch.equal(read_checkpoint(tmp_path).model.state_dict()["head.weight"], pair.ours.head.weight)


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("opt", {"do_layer_norm_before": False}, "do_layer_norm_before=False"),
        ("opt", {"word_embed_proj_dim": 24}, "word_embed_proj_dim=24"),
        ("opt", {"activation_function": "mish"}, "activation_function='mish'"),
        ("bloom-6-heads", {"apply_residual_connection_post_layernorm": True}, "apply_residual_connection"),
        ("neox-parallel", {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, "rope_type='linear'"),
        ("llama", {"rope_parameters": {"rope_type": "llama3"}}, "rope_type='llama3'"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True"),
        ("qwen2", {"use_sliding_window": True}, "use_sliding_window=True"),
    ],
)
def test_what_ours_does_not_have_is_refused_by_name(name: str, values: dict[str, Any], told: str) -> None:
    config = CASES[name]().config.to_dict()
    with pytest.raises(UserError, match=told):
        FAMILIES[config["model_type"]].read({**config, **values})


def test_older_spellings_of_a_configuration_say_the_same() -> None:
    bloom = {"vocab_size": 61, "n_embed": 48, "n_layer": 2, "num_attention_heads": 6, "layer_norm_epsilon": 3e-5}
    assert FAMILIES["bloom"].read(bloom) == FAMILIES["bloom"].read(CASES["bloom-6-heads"]().config.to_dict())
    told = CASES["neox-parallel"]().config.to_dict()
    older = {key: value for key, value in told.items() if key != "rope_parameters"}
    for fraction, theta in ((0.25, 10_000), (1.0, 500)):
        told["rope_parameters"] = {"rope_type": "default", "rope_theta": theta, "partial_rotary_factor": fraction}
        older |= {"rotary_pct": fraction, "rotary_emb_base": theta}
        assert FAMILIES["gpt_neox"].read(older) == FAMILIES["gpt_neox"].read(told)
