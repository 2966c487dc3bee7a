"""OPT (Zhang et al. 2022, arXiv 2205.01068): GPT-2's shape with ReLU, its table of positions begun two rows late."""

from __future__ import annotations

from typing import Any

from beholder.checkpoint.rules import Rule, layer, same
from beholder.models.gpt import GPT, GPTConfig
from beholder.pretrained.huggingface.family import (
    Family,
    Values,
    activation,
    activation_name,
    refuse,
    self_attention,
    tied_head,
)
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.mask import MaskConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.transformer import TransformerConfig

_OFFSET = 2
"""The table's first rows belonged to padding; they are stored and never read."""
_EPS = 1e-5
"""Not told by its config.json."""


def read(values: Values) -> GPTConfig:
    """Raises UserError for the 350M model, which normalises after its branches and projects its table of tokens."""
    width = values["hidden_size"]
    refuse(
        values, do_layer_norm_before=True, word_embed_proj_dim=width, layer_norm_elementwise_affine=True,
        _remove_final_layer_norm=False,
    )  # fmt: skip
    has_bias = values.get("enable_bias", True)
    trunk = TransformerConfig(
        width,
        values["num_hidden_layers"],
        AttentionConfig(values["num_attention_heads"], biases=("query", "key", "value", "out") if has_bias else ()),
        MLPConfig(values["ffn_dim"], activation(values, "activation_function", "relu"), has_bias=has_bias),
        NormConfig(eps=_EPS),
        mask=MaskConfig(is_causal=True),
    )
    is_tied = values.get("tie_word_embeddings", True)
    return GPTConfig(values["vocab_size"], values["max_position_embeddings"], _OFFSET, is_tied=is_tied, trunk=trunk)


def write(config: GPTConfig) -> dict[str, Any]:
    trunk = config.trunk
    assert config.position_offset == _OFFSET and trunk.norm.eps == _EPS, "OPT's config.json cannot tell these"
    return {
        "architectures": ["OPTForCausalLM"],
        "vocab_size": config.vocabulary_size,
        "max_position_embeddings": config.num_positions,
        "hidden_size": trunk.width,
        "word_embed_proj_dim": trunk.width,
        "num_hidden_layers": trunk.depth,
        "num_attention_heads": trunk.attention.num_heads,
        "ffn_dim": trunk.mlp.width or 4 * trunk.width,
        "activation_function": activation_name(trunk.mlp.activation),
        "enable_bias": trunk.mlp.has_bias,
        "tie_word_embeddings": config.is_tied,
    }


def rules(config: GPTConfig) -> list[Rule]:
    trunk, has_bias = config.trunk, config.trunk.mlp.has_bias
    found = [
        same("embed.tokens.weight", "model.decoder.embed_tokens.weight"),
        same("embed.positions.weight", "model.decoder.embed_positions.weight"),
        *layer("trunk.norm", "model.decoder.final_layer_norm"),
    ]
    names = ("q_proj", "k_proj", "v_proj", "out_proj")
    for index in range(trunk.depth):
        ours, theirs = f"trunk.blocks.{index}", f"model.decoder.layers.{index}"
        found += layer(f"{ours}.attention.norm", f"{theirs}.self_attn_layer_norm")
        found += self_attention(f"{ours}.attention.body", f"{theirs}.self_attn", trunk.attention, trunk.width, names)
        found += layer(f"{ours}.mlp.norm", f"{theirs}.final_layer_norm")
        found += layer(f"{ours}.mlp.body.widen", f"{theirs}.fc1", has_bias=has_bias)
        found += layer(f"{ours}.mlp.body.narrow", f"{theirs}.fc2", has_bias=has_bias)
    return found if config.is_tied else [*found, same("head.weight", "lm_head.weight")]


OPT = Family(
    read, write, GPT, rules, ignored=("lm_head.weight",), prefix="model.",
    settle=tied_head("lm_head.weight", "model.decoder.embed_tokens.weight"),
)  # fmt: skip
