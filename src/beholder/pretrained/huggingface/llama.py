"""LLaMA and what is built like it: root-mean-square norms, rotary positions, gated feed-forward, shared key heads.

LLaMA (Touvron et al. 2023, arXiv 2302.13971), which is also the architecture of LVM (Bai et al. 2023, arXiv
2312.00785), SmolLM2, Qwen2 (biases of query, key and value), Qwen3 (norms of query and key), Mixtral (experts).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from beholder.checkpoint.rules import Joined, Rule, Stacked, layer, same
from beholder.models.gpt import GPT, GPTConfig
from beholder.pretrained.huggingface.family import (
    Family,
    Values,
    activation,
    refuse,
    rotary,
    rotary_values,
    self_attention,
    tied_head,
)
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.experts import ExpertsConfig
from beholder.trunk.mask import MaskConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.transformer import TransformerConfig

Kind = Literal["llama", "qwen2", "qwen3", "mixtral"]
_ARCHITECTURES = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3", "mixtral": "Mixtral"}


def read(values: Values, kind: Kind) -> GPTConfig:
    refuse(values, use_sliding_window=False, pretraining_tp=1)
    norm = NormConfig("rms", values.get("rms_norm_eps", 1e-5 if kind == "mixtral" else 1e-6))
    has_bias = values.get("attention_bias", kind == "qwen2")
    biases = ("query", "key", "value", *([] if kind == "qwen2" else ["out"])) if has_bias else ()
    theta = {"llama": 1e4, "qwen2": 1e4, "qwen3": 1e4, "mixtral": 1e6}[kind]
    experts = None
    if kind == "mixtral":
        experts = ExpertsConfig(values["num_local_experts"], values["num_experts_per_tok"])
    trunk = TransformerConfig(
        values["hidden_size"],
        values["num_hidden_layers"],
        AttentionConfig(
            values["num_attention_heads"],
            values.get("num_key_value_heads") or values["num_attention_heads"],
            values.get("head_dim"),
            biases,  # type: ignore[arg-type]
            qk_norm=norm if kind == "qwen3" else None,
        ),
        MLPConfig(
            values["intermediate_size"], activation(values, "hidden_act", "silu"), is_gated=True,
            has_bias=values.get("mlp_bias", False),
        ),
        norm,
        mask=MaskConfig(is_causal=True, window=values.get("sliding_window") if kind == "mixtral" else None),
        rotary=rotary(values, theta=theta),
        experts=experts,
    )  # fmt: skip
    return GPTConfig(
        values["vocab_size"],
        None,
        is_tied=values.get("tie_word_embeddings", False),
        context_length=values.get("max_position_embeddings"),
        trunk=trunk,
    )


def write(config: GPTConfig, kind: Kind) -> dict[str, Any]:
    trunk = config.trunk
    assert trunk.rotary is not None
    values = {
        "architectures": [f"{_ARCHITECTURES[kind]}ForCausalLM"],
        "vocab_size": config.vocabulary_size,
        "hidden_size": trunk.width,
        "num_hidden_layers": trunk.depth,
        "num_attention_heads": trunk.attention.num_heads,
        "num_key_value_heads": trunk.attention.num_key_heads or trunk.attention.num_heads,
        "head_dim": trunk.attention.head_width or trunk.width // trunk.attention.num_heads,
        "intermediate_size": trunk.mlp.width or 4 * trunk.width,
        "hidden_act": {"gelu_tanh": "gelu_pytorch_tanh"}.get(trunk.mlp.activation, trunk.mlp.activation),
        "rms_norm_eps": trunk.norm.eps,
        "tie_word_embeddings": config.is_tied,
        **rotary_values(trunk.rotary),
    }
    if config.context_length is not None:
        values["max_position_embeddings"] = config.context_length
    if kind in ("llama", "qwen3"):
        values["attention_bias"] = bool(trunk.attention.biases)
    if kind == "llama":
        values["mlp_bias"] = trunk.mlp.has_bias
    if trunk.experts is not None:
        values |= {"num_local_experts": trunk.experts.num_experts, "num_experts_per_tok": trunk.experts.num_chosen}
        values["sliding_window"] = trunk.mask.window
    return values


def rules(config: GPTConfig) -> list[Rule]:
    trunk = config.trunk
    inner = trunk.mlp.width or 4 * trunk.width
    found = [
        same("embed.tokens.weight", "model.embed_tokens.weight"),
        *layer("trunk.norm", "model.norm", has_bias=False),
    ]
    for index in range(trunk.depth):
        ours, theirs = f"trunk.blocks.{index}", f"model.layers.{index}"
        attention, mlp = f"{ours}.attention.body", f"{ours}.mlp.body"
        found += layer(f"{ours}.attention.norm", f"{theirs}.input_layernorm", has_bias=False)
        found += self_attention(
            attention, f"{theirs}.self_attn", trunk.attention, trunk.width, ("q_proj", "k_proj", "v_proj", "o_proj")
        )
        if trunk.attention.qk_norm:
            found.append(same(f"{attention}.query_norm.weight", f"{theirs}.self_attn.q_norm.weight"))
            found.append(same(f"{attention}.key_norm.weight", f"{theirs}.self_attn.k_norm.weight"))
        found += layer(f"{ours}.mlp.norm", f"{theirs}.post_attention_layernorm", has_bias=False)
        if trunk.experts is not None:
            found += _experts(mlp, theirs, trunk.experts.num_experts)
            continue
        parts = ("weight", *["bias"] * trunk.mlp.has_bias)
        for part in parts:
            names = (f"{theirs}.mlp.gate_proj.{part}", f"{theirs}.mlp.up_proj.{part}")
            found.append(Rule((f"{mlp}.widen.{part}",), names, Joined((inner, inner))))
        found += layer(f"{mlp}.narrow", f"{theirs}.mlp.down_proj", has_bias=trunk.mlp.has_bias)
    return found if config.is_tied else [*found, same("head.weight", "lm_head.weight")]


def _experts(ours: str, theirs: str, num_experts: int) -> list[Rule]:
    places = [f"{theirs}.block_sparse_moe.experts.{index}" for index in range(num_experts)]
    return [
        same(f"{ours}.router.weight", f"{theirs}.block_sparse_moe.gate.weight"),
        Rule((f"{ours}.widen",), tuple(f"{one}.{name}.weight" for one in places for name in ("w1", "w3")), Stacked(2)),
        Rule((f"{ours}.narrow",), tuple(f"{one}.w2.weight" for one in places), Stacked()),
    ]


def _family(kind: Kind) -> Family:
    write_kind: Callable[[GPTConfig], dict[str, Any]] = partial(write, kind=kind)
    return Family(
        partial(read, kind=kind), write_kind, GPT, rules, ignored=("*.rotary_emb.inv_freq", "lm_head.weight"),
        prefix="model.", settle=tied_head("lm_head.weight", "model.embed_tokens.weight"),
    )  # fmt: skip


LLAMA, QWEN2, QWEN3, MIXTRAL = (_family(kind) for kind in ("llama", "qwen2", "qwen3", "mixtral"))
