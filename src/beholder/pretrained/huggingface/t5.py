"""T5 (Raffel et al. 2019, arXiv 1910.10683), versions 1.0 and 1.1, and FLAN-T5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from beholder.checkpoint.rules import Joined, Rule, layer, same
from beholder.models.t5 import T5, T5Config, decoder_of
from beholder.pretrained.huggingface.family import (
    Family,
    Values,
    activation,
    activation_name,
    check_copies,
    cross_attention,
    refuse,
    self_attention,
)
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.position import BucketConfig
from beholder.trunk.transformer import TransformerConfig


def read(values: Values) -> T5Config:
    refuse(values, is_decoder=False, is_encoder_decoder=True)
    is_gated, act = _feed_forward(values.get("feed_forward_proj", "relu"))
    attention = AttentionConfig(values["num_heads"], head_width=values["d_kv"], biases=(), scale=1.0)
    encoder = TransformerConfig(
        values["d_model"],
        values["num_layers"],
        attention,
        MLPConfig(values["d_ff"], activation({"act": act}, "act", "relu"), is_gated, has_bias=False),
        NormConfig("rms", values.get("layer_norm_epsilon", 1e-6)),
        distance=BucketConfig(
            values.get("relative_attention_num_buckets", 32), values.get("relative_attention_max_distance", 128)
        ),
    )
    # Published files say "not tied" of version 1.1, whose head is not scaled; transformers 5 names the scale apart.
    is_scaled = values.get("scale_decoder_outputs", values.get("tie_word_embeddings") is not False)
    return T5Config(
        values["vocab_size"],
        is_tied=is_scaled,
        is_scaled=is_scaled,
        start_token=values.get("decoder_start_token_id"),
        encoder=encoder,
        decoder=decoder_of(encoder, values.get("num_decoder_layers")),
    )


def settle(config: T5Config, tensors: Mapping[str, Tensor]) -> T5Config:
    """A head of its own is there when the file has one that is not the table again."""
    table, head = tensors.get("shared.weight"), tensors.get("lm_head.weight")
    copies = (f"{side}.embed_tokens.weight" for side in ("encoder", "decoder"))
    check_copies(tensors, dict.fromkeys(copies, "shared.weight"))
    return replace(config, is_tied=head is None or (table is not None and torch.equal(table, head)))


def write(config: T5Config) -> dict[str, Any]:
    encoder = config.encoder
    assert isinstance(encoder.distance, BucketConfig)
    act = "gelu" if encoder.mlp.is_gated and encoder.mlp.activation == "gelu_tanh" else None
    act = act or activation_name(encoder.mlp.activation)
    values = {
        "architectures": ["T5ForConditionalGeneration"],
        "vocab_size": config.vocabulary_size,
        "d_model": encoder.width,
        "num_layers": encoder.depth,
        "num_decoder_layers": config.decoder.depth,
        "num_heads": encoder.attention.num_heads,
        "d_kv": encoder.attention.head_width or encoder.width // encoder.attention.num_heads,
        "d_ff": encoder.mlp.width or 4 * encoder.width,
        "feed_forward_proj": f"gated-{act}" if encoder.mlp.is_gated else act,
        "layer_norm_epsilon": encoder.norm.eps,
        "relative_attention_num_buckets": encoder.distance.num_buckets,
        "relative_attention_max_distance": encoder.distance.max_distance,
        "scale_decoder_outputs": config.is_scaled,
        "tie_word_embeddings": config.is_scaled,
    }
    if config.start_token is not None:
        values["decoder_start_token_id"] = config.start_token
    return values


def rules(config: T5Config) -> list[Rule]:
    found = [same("tokens.weight", "shared.weight")]
    for side, trunk in (("encoder", config.encoder), ("decoder", config.decoder)):
        found += layer(f"{side}.norm", f"{side}.final_layer_norm", has_bias=False)
        first = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        found.append(same(f"{side}.distance.table", first))
        for index in range(trunk.depth):
            found += _block(f"{side}.blocks.{index}", f"{side}.block.{index}.layer", trunk)
    return found if config.is_tied else [*found, same("head.weight", "lm_head.weight")]


def _block(ours: str, theirs: str, trunk: TransformerConfig) -> list[Rule]:
    names, last = ("q", "k", "v", "o"), 1 if trunk.source_width is None else 2
    found = layer(f"{ours}.attention.norm", f"{theirs}.0.layer_norm", has_bias=False)
    found += self_attention(f"{ours}.attention.body", f"{theirs}.0.SelfAttention", trunk.attention, trunk.width, names)
    if trunk.source_width is not None:
        found += layer(f"{ours}.cross.norm", f"{theirs}.1.layer_norm", has_bias=False)
        found += cross_attention(
            f"{ours}.cross.body", f"{theirs}.1.EncDecAttention", trunk.attention, trunk.width, names
        )
    found += layer(f"{ours}.mlp.norm", f"{theirs}.{last}.layer_norm", has_bias=False)
    mlp, inner = f"{theirs}.{last}.DenseReluDense", trunk.mlp.width or 4 * trunk.width
    if trunk.mlp.is_gated:
        wide = (f"{mlp}.wi_0.weight", f"{mlp}.wi_1.weight")
        found.append(Rule((f"{ours}.mlp.body.widen.weight",), wide, Joined((inner, inner))))
    else:
        found.append(same(f"{ours}.mlp.body.widen.weight", f"{mlp}.wi.weight"))
    return [*found, same(f"{ours}.mlp.body.narrow.weight", f"{mlp}.wo.weight")]


def _feed_forward(name: str) -> tuple[bool, str]:
    """Whether there is a gate, and the activation; "gated-gelu" has always meant the one by tanh."""
    is_gated = name.startswith("gated-")
    act = name.removeprefix("gated-")
    return is_gated, "gelu_new" if is_gated and act == "gelu" else act


T5_FAMILY = Family(
    read,
    write,
    T5,
    rules,
    ignored=(
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
        "lm_head.weight",
        "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",  # no code ever read it
    ),
    settle=settle,
)
