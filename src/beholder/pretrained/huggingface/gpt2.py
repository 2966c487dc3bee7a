"""GPT-2 (Radford et al. 2019): learned positions, matrices stored the other way round."""

from __future__ import annotations

from typing import Any

from beholder.checkpoint.rules import Rule, Transposed, layer, same
from beholder.models.gpt import GPT, GPTConfig
from beholder.pretrained.huggingface.family import (
    Family,
    Values,
    activation,
    head_sizes,
    joint_biases,
    refuse,
    tied_head,
)
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.mask import MaskConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.transformer import TransformerConfig


def read(values: Values) -> GPTConfig:
    refuse(values, add_cross_attention=False, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False)
    trunk = TransformerConfig(
        values["n_embd"],
        values["n_layer"],
        AttentionConfig(values["n_head"]),
        MLPConfig(values.get("n_inner"), activation(values, "activation_function", "gelu_new")),
        NormConfig(eps=values.get("layer_norm_epsilon", 1e-5)),
        mask=MaskConfig(is_causal=True),
    )
    is_tied = values.get("tie_word_embeddings", True)
    return GPTConfig(values["vocab_size"], values["n_positions"], is_tied=is_tied, trunk=trunk)


def write(config: GPTConfig) -> dict[str, Any]:
    trunk = config.trunk
    names = {"gelu": "gelu", "gelu_tanh": "gelu_new", "quick_gelu": "quick_gelu", "relu": "relu", "silu": "silu"}
    return {
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": config.vocabulary_size,
        "n_positions": config.num_positions,
        "n_embd": trunk.width,
        "n_layer": trunk.depth,
        "n_head": trunk.attention.num_heads,
        "n_inner": trunk.mlp.width,
        "activation_function": names[trunk.mlp.activation],
        "layer_norm_epsilon": trunk.norm.eps,
        "tie_word_embeddings": config.is_tied,
    }


def rules(config: GPTConfig) -> list[Rule]:
    trunk = config.trunk
    found = [
        same("embed.tokens.weight", "transformer.wte.weight"),
        same("embed.positions.weight", "transformer.wpe.weight"),
        *layer("trunk.norm", "transformer.ln_f"),
    ]
    for index in range(trunk.depth):
        ours, theirs = f"trunk.blocks.{index}", f"transformer.h.{index}"
        attention, mlp = f"{ours}.attention.body", f"{ours}.mlp.body"
        found += [
            *layer(f"{ours}.attention.norm", f"{theirs}.ln_1"),
            same(f"{attention}.qkv.weight", f"{theirs}.attn.c_attn.weight", Transposed()),
            joint_biases(attention, f"{theirs}.attn.c_attn.bias", head_sizes(trunk.attention, trunk.width)),
            same(f"{attention}.out.weight", f"{theirs}.attn.c_proj.weight", Transposed()),
            same(f"{attention}.out.bias", f"{theirs}.attn.c_proj.bias"),
            *layer(f"{ours}.mlp.norm", f"{theirs}.ln_2"),
            same(f"{mlp}.widen.weight", f"{theirs}.mlp.c_fc.weight", Transposed()),
            same(f"{mlp}.widen.bias", f"{theirs}.mlp.c_fc.bias"),
            same(f"{mlp}.narrow.weight", f"{theirs}.mlp.c_proj.weight", Transposed()),
            same(f"{mlp}.narrow.bias", f"{theirs}.mlp.c_proj.bias"),
        ]
    return found if config.is_tied else [*found, same("head.weight", "lm_head.weight")]


GPT2 = Family(
    read, write, GPT, rules, ignored=("*.attn.bias", "*.attn.masked_bias", "lm_head.weight"), prefix="transformer.",
    settle=tied_head("lm_head.weight", "transformer.wte.weight"),
)  # fmt: skip
