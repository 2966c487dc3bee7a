"""Whisper (Radford et al. 2022, arXiv 2212.04356): a sound encoder and a text decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from beholder.checkpoint.rules import Rule, layer, same
from beholder.models.whisper import Whisper, WhisperConfig, whisper_trunk
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
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.transformer import TransformerConfig


def read(values: Values) -> WhisperConfig:
    refuse(values, scale_embedding=False, tie_word_embeddings=True)
    ends = values.get("eos_token_id", 50256)
    return WhisperConfig(
        values["num_mel_bins"],
        values.get("max_source_positions", 1500),
        values["vocab_size"],
        values.get("max_target_positions", 448),
        start_token=values.get("decoder_start_token_id", 50257),
        end_tokens=() if ends is None else (ends,) if isinstance(ends, int) else tuple(ends),
        padding_token=values.get("pad_token_id", 50256),
        forced_tokens=_forced(values.get("forced_decoder_ids")),
        suppressed_tokens=tuple(values.get("suppress_tokens") or ()),
        first_suppressed_tokens=tuple(values.get("begin_suppress_tokens") or ()),
        encoder=_trunk(values, "encoder"),
        decoder=_trunk(values, "decoder"),
    )


def _forced(pairs: Any) -> tuple[int, ...]:
    """From (place, token), places counted from 1 without a gap; none where one is left open for the language."""
    tokens = tuple(token for _, token in pairs or ())
    is_whole = [place for place, _ in pairs or ()] == list(range(1, len(tokens) + 1))
    return tokens if is_whole and None not in tokens else ()


def _trunk(values: Values, side: str) -> TransformerConfig:
    mlp = MLPConfig(values[f"{side}_ffn_dim"], activation(values, "activation_function", "gelu"))
    depth, num_heads = values[f"{side}_layers"], values[f"{side}_attention_heads"]
    return whisper_trunk(values["d_model"], depth, num_heads, mlp, is_decoder=side == "decoder")


def settle(config: WhisperConfig, tensors: Mapping[str, Tensor]) -> WhisperConfig:
    check_copies(tensors, {"proj_out.weight": "model.decoder.embed_tokens.weight"})
    return config


def write(config: WhisperConfig) -> dict[str, Any]:
    values: dict[str, Any] = {
        "architectures": ["WhisperForConditionalGeneration"],
        "num_mel_bins": config.num_mels,
        "max_source_positions": config.num_source_positions,
        "vocab_size": config.vocabulary_size,
        "max_target_positions": config.num_positions,
        "d_model": config.encoder.width,
        "activation_function": activation_name(config.encoder.mlp.activation),
        "decoder_start_token_id": config.start_token,
        "bos_token_id": config.end_tokens[0] if config.end_tokens else None,  # as published; no text begins with it
        "eos_token_id": config.end_tokens[0] if len(config.end_tokens) == 1 else list(config.end_tokens) or None,
        "pad_token_id": config.padding_token,
        "forced_decoder_ids": [list(pair) for pair in enumerate(config.forced_tokens, start=1)] or None,
        "suppress_tokens": list(config.suppressed_tokens) or None,
        "begin_suppress_tokens": list(config.first_suppressed_tokens) or None,
    }
    for side, trunk in (("encoder", config.encoder), ("decoder", config.decoder)):
        values |= {
            f"{side}_layers": trunk.depth,
            f"{side}_attention_heads": trunk.attention.num_heads,
            f"{side}_ffn_dim": trunk.mlp.width or 4 * trunk.width,
        }
    return values


def rules(config: WhisperConfig) -> list[Rule]:
    found = [
        *layer("encoder.first", "model.encoder.conv1"),
        *layer("encoder.second", "model.encoder.conv2"),
        same("encoder.times", "model.encoder.embed_positions.weight"),
        same("embed.tokens.weight", "model.decoder.embed_tokens.weight"),
        same("embed.positions.weight", "model.decoder.embed_positions.weight"),
    ]
    sides = (("encoder.trunk", "model.encoder", config.encoder), ("decoder", "model.decoder", config.decoder))
    for ours, theirs, trunk in sides:
        found += layer(f"{ours}.norm", f"{theirs}.layer_norm")
        for index in range(trunk.depth):
            found += _block(f"{ours}.blocks.{index}", f"{theirs}.layers.{index}", trunk)
    return found


def _block(ours: str, theirs: str, trunk: TransformerConfig) -> list[Rule]:
    names = ("q_proj", "k_proj", "v_proj", "out_proj")
    found = layer(f"{ours}.attention.norm", f"{theirs}.self_attn_layer_norm")
    found += self_attention(f"{ours}.attention.body", f"{theirs}.self_attn", trunk.attention, trunk.width, names)
    if trunk.source_width is not None:
        found += layer(f"{ours}.cross.norm", f"{theirs}.encoder_attn_layer_norm")
        found += cross_attention(f"{ours}.cross.body", f"{theirs}.encoder_attn", trunk.attention, trunk.width, names)
    return [
        *found,
        *layer(f"{ours}.mlp.norm", f"{theirs}.final_layer_norm"),
        *layer(f"{ours}.mlp.body.widen", f"{theirs}.fc1"),
        *layer(f"{ours}.mlp.body.narrow", f"{theirs}.fc2"),
    ]


WHISPER = Family(
    read,
    write,
    Whisper,
    rules,
    ignored=("proj_out.weight",),
    prefix="model.",
    settle=settle,
    told_apart=(
        "decoder_start_token_id", "eos_token_id", "forced_decoder_ids", "suppress_tokens", "begin_suppress_tokens",
    ),
)  # fmt: skip
