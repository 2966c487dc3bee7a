"""Every switch of a vision model turned by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from parity.proof import changed

from beholder.models.clip import CLIPConfig, ImageTowerConfig, TextTowerConfig
from beholder.models.mae import MAEConfig
from beholder.models.vit import ViTConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.position import RotaryConfig
from beholder.trunk.transformer import TransformerConfig

Flip = tuple[str, Any]
"""Path of the switch and its wrong value."""


def flips(config: Any) -> Iterator[tuple[str, Any]]:
    """The configuration with one switch after another turned, by name."""
    for path, value in _any(config):
        yield f"{path}={value}", changed(config, path, value)


def _any(config: Any) -> Iterator[Flip]:
    match config:
        case ViTConfig():
            yield from _vit(config)
        case ImageTowerConfig():
            yield from _below("vit", config.vit)
            yield "projection_width", 14 if config.projection_width is None else None
        case TextTowerConfig():
            yield from _text(config)
        case CLIPConfig():
            yield from _below("image", config.image)
            yield from _below("text", config.text)
            yield "logit_bias", 0.0 if config.logit_bias is None else None
        case MAEConfig():
            yield from _mae(config)
        case TransformerConfig():
            yield from _trunk(config)


def _below(path: str, config: Any) -> Iterator[Flip]:
    for rest, value in _any(config):
        yield f"{path}.{rest}", value


def _vit(config: ViTConfig) -> Iterator[Flip]:
    yield from _below("trunk", config.trunk)
    yield "patch_size", 2
    yield "has_class_token", not config.has_class_token
    yield "num_registers", config.num_registers + 1
    yield "num_registers", max(config.num_registers - 1, 2)
    yield "positions", "sine" if config.positions != "sine" else "none"
    if config.positions in ("learned", "fixed"):
        yield "image_size", config.image_size + config.patch_size
        yield "has_class_position", not config.has_class_position
        yield "resampling", "plain" if config.resampling == "antialiased" else "antialiased"
    yield "has_patch_bias", not config.has_patch_bias
    yield "has_mask_token", not config.has_mask_token
    yield "embedding_norm", None if config.embedding_norm else NormConfig()
    if config.embedding_norm:
        yield "embedding_norm.kind", "rms"
        yield "embedding_norm.eps", 0.1
        yield "embedding_norm.eps", config.embedding_norm.eps / 10
    if config.pool != "mean":
        yield "pool", "mean"
    yield "pool", "class" if config.pool == "attention" else "attention"
    yield "pooler_width", 5
    yield "classes", config.classes[1:] if config.classes else ("one", "two")
    if config.classes:
        other = "summary" if config.classifier_reads == "summary_and_mean" else "summary_and_mean"
        yield "classifier_reads", other


def _text(config: TextTowerConfig) -> Iterator[Flip]:
    yield from _below("trunk", config.trunk)
    yield "num_positions", config.num_positions + 1
    yield "vocabulary_size", config.vocabulary_size + 1
    if config.pool == "end":
        yield "pool", "last"
        yield "end_token", 1 if config.end_token is None else None
    yield "projection_width", 14 if config.projection_width is None else None
    if config.projection_width:
        yield "has_projection_bias", not config.has_projection_bias


def _mae(config: MAEConfig) -> Iterator[Flip]:
    yield from (
        (path, value) for path, value in _below("encoder", config.encoder) if path != "encoder.pool" or value != "mean"
    )
    yield "mask_ratio", 0.5
    if config.decoder is not None:
        yield from _below("decoder", config.decoder)
        yield "decoder", None
        yield "has_normalised_target", not config.has_normalised_target


def _trunk(trunk: TransformerConfig) -> Iterator[Flip]:
    yield "depth", trunk.depth - 1
    yield "width", 2 * trunk.width
    yield from (("norm.kind", "rms"), ("norm.eps", 0.1), ("norm.eps", trunk.norm.eps / 10))
    yield from (("norm_at", "post"), ("norm_at", "parallel"), ("has_final_norm", False))
    yield from (("mask", replace(trunk.mask, is_causal=not trunk.mask.is_causal)), ("mask.window", 5))
    yield "distance", "alibi"
    yield "layer_scale", None if trunk.layer_scale is not None else 1.0
    for name in {"gelu", "gelu_tanh", "quick_gelu", "relu", "silu"} - {trunk.mlp.activation}:
        yield "mlp.activation", name
    yield "mlp.width", (trunk.mlp.width or 4 * trunk.width) + 1
    yield "mlp.is_gated", not trunk.mlp.is_gated
    yield "mlp.has_bias", not trunk.mlp.has_bias
    attention = trunk.attention
    yield "attention.num_heads", 1
    yield "attention.num_key_heads", 1
    yield "attention.scale", 1.0
    yield "attention.qk_norm", NormConfig()
    for name in ("query", "key", "value", "out"):
        rest = tuple(one for one in ("query", "key", "value", "out") if (one in attention.biases) != (one == name))
        yield "attention.biases", rest
    yield "rotary", RotaryConfig() if trunk.rotary is None else None
    if trunk.rotary is not None:
        yield "rotary.theta", 2 * trunk.rotary.theta
        yield "rotary.layout", "pairs"
        yield "rotary.axes", "sequence"
