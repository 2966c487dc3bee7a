"""GPT-NeoX (Black et al. 2022, arXiv 2204.06745), and Pythia: both branches of a block read the same input, and a
quarter of each head is turned."""

from __future__ import annotations

from typing import Any

from beholder.checkpoint.rules import Rule, layer, same
from beholder.models.gpt import GPT, GPTConfig
from beholder.pretrained.huggingface.family import (
    Family,
    Values,
    activation,
    activation_name,
    head_by_head,
    rotary,
    tied_head,
)
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.mask import MaskConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.transformer import TransformerConfig


def read(values: Values) -> GPTConfig:
    biases = ("query", "key", "value", "out") if values.get("attention_bias", True) else ()
    turned = rotary(values, theta=values.get("rotary_emb_base", 1e4), fraction=values.get("rotary_pct", 0.25))
    trunk = TransformerConfig(
        values["hidden_size"],
        values["num_hidden_layers"],
        AttentionConfig(values["num_attention_heads"], biases=biases),
        MLPConfig(values["intermediate_size"], activation(values, "hidden_act", "gelu")),
        NormConfig(eps=values.get("layer_norm_eps", 1e-5)),
        "parallel" if values.get("use_parallel_residual", True) else "pre",
        mask=MaskConfig(is_causal=True),
        rotary=turned,
    )
    return GPTConfig(
        values["vocab_size"],
        None,
        is_tied=values.get("tie_word_embeddings", False),
        context_length=values.get("max_position_embeddings"),
        trunk=trunk,
    )


def write(config: GPTConfig) -> dict[str, Any]:
    trunk = config.trunk
    assert trunk.rotary is not None
    values = {
        "architectures": ["GPTNeoXForCausalLM"],
        "vocab_size": config.vocabulary_size,
        "hidden_size": trunk.width,
        "num_hidden_layers": trunk.depth,
        "num_attention_heads": trunk.attention.num_heads,
        "intermediate_size": trunk.mlp.width or 4 * trunk.width,
        "hidden_act": activation_name(trunk.mlp.activation),
        "layer_norm_eps": trunk.norm.eps,
        "use_parallel_residual": trunk.norm_at == "parallel",
        "attention_bias": bool(trunk.attention.biases),
        "tie_word_embeddings": config.is_tied,
        "rope_parameters": {  # a fraction that is not told would be a quarter
            "rope_type": "default",
            "rope_theta": trunk.rotary.theta,
            "partial_rotary_factor": trunk.rotary.fraction,
        },
    }
    if config.context_length is not None:
        values["max_position_embeddings"] = config.context_length
    return values


def rules(config: GPTConfig) -> list[Rule]:
    trunk = config.trunk
    found = [
        same("embed.tokens.weight", "gpt_neox.embed_in.weight"),
        *layer("trunk.norm", "gpt_neox.final_layer_norm"),
    ]
    for index in range(trunk.depth):
        ours, theirs = f"trunk.blocks.{index}", f"gpt_neox.layers.{index}"
        found += layer(f"{ours}.attention.norm", f"{theirs}.input_layernorm")
        found += head_by_head(f"{ours}.attention.body", f"{theirs}.attention", trunk.attention, trunk.width)
        found += layer(f"{ours}.mlp.norm", f"{theirs}.post_attention_layernorm")
        found += layer(f"{ours}.mlp.body.widen", f"{theirs}.mlp.dense_h_to_4h")
        found += layer(f"{ours}.mlp.body.narrow", f"{theirs}.mlp.dense_4h_to_h")
    return found if config.is_tied else [*found, same("head.weight", "embed_out.weight")]


NEOX = Family(
    read, write, GPT, rules,
    ignored=("*.attention.bias", "*.attention.masked_bias", "*.rotary_emb.inv_freq", "embed_out.weight"),
    prefix="gpt_neox.", older=((r"^lm_head\.", "embed_out."),),
    settle=tied_head("embed_out.weight", "gpt_neox.embed_in.weight"),
)  # fmt: skip
