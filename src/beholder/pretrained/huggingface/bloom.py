"""BLOOM (Scao et al. 2022, arXiv 2211.05100): no positions but a penalty for distance, and a norm of the embedding."""

from __future__ import annotations

from typing import Any

from beholder.checkpoint.rules import Rule, layer, same
from beholder.models.gpt import GPT, GPTConfig
from beholder.pretrained.huggingface.family import Family, Values, head_by_head, refuse, tied_head
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.mask import MaskConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.transformer import TransformerConfig


def read(values: Values) -> GPTConfig:
    """Published folders name width and heads either way: `n_embed` or `hidden_size`, `n_head` or
    `num_attention_heads`."""
    refuse(values, apply_residual_connection_post_layernorm=False)
    norm = NormConfig(eps=values.get("layer_norm_epsilon", 1e-5))
    trunk = TransformerConfig(
        values["n_embed"] if "n_embed" in values else values["hidden_size"],
        values["n_layer"] if "n_layer" in values else values["num_hidden_layers"],
        AttentionConfig(values["n_head"] if "n_head" in values else values["num_attention_heads"]),
        MLPConfig(activation="gelu_tanh"),
        norm,
        mask=MaskConfig(is_causal=True),
        distance="alibi",
    )
    return GPTConfig(
        values["vocab_size"],
        None,
        embedding_norm=norm,
        is_tied=values.get("tie_word_embeddings", True),
        context_length=values.get("seq_length"),
        trunk=trunk,
    )


def write(config: GPTConfig) -> dict[str, Any]:
    trunk = config.trunk
    assert trunk.mlp.activation == "gelu_tanh" and trunk.mlp.width in (None, 4 * trunk.width), trunk.mlp
    values = {
        "architectures": ["BloomForCausalLM"],
        "vocab_size": config.vocabulary_size,
        "hidden_size": trunk.width,
        "n_layer": trunk.depth,
        "n_head": trunk.attention.num_heads,
        "layer_norm_epsilon": trunk.norm.eps,
        "tie_word_embeddings": config.is_tied,
    }
    return values if config.context_length is None else {**values, "seq_length": config.context_length}


def rules(config: GPTConfig) -> list[Rule]:
    trunk = config.trunk
    found = [
        same("embed.tokens.weight", "transformer.word_embeddings.weight"),
        *layer("embed.norm", "transformer.word_embeddings_layernorm"),
        *layer("trunk.norm", "transformer.ln_f"),
    ]
    for index in range(trunk.depth):
        ours, theirs = f"trunk.blocks.{index}", f"transformer.h.{index}"
        found += layer(f"{ours}.attention.norm", f"{theirs}.input_layernorm")
        found += head_by_head(f"{ours}.attention.body", f"{theirs}.self_attention", trunk.attention, trunk.width)
        found += layer(f"{ours}.mlp.norm", f"{theirs}.post_attention_layernorm")
        found += layer(f"{ours}.mlp.body.widen", f"{theirs}.mlp.dense_h_to_4h")
        found += layer(f"{ours}.mlp.body.narrow", f"{theirs}.mlp.dense_4h_to_h")
    return found if config.is_tied else [*found, same("head.weight", "lm_head.weight")]


BLOOM = Family(
    read, write, GPT, rules, ignored=("lm_head.weight",), prefix="transformer.",
    settle=tied_head("lm_head.weight", "transformer.word_embeddings.weight"),
)  # fmt: skip
