"""DINOv2 (Oquab et al. 2023, arXiv 2304.07193), with registers (Darcet et al. 2023, arXiv 2309.16588), and DINOv3
(Simeoni et al. 2025, arXiv 2508.10104): teachers' features, with a learned scale on each branch."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from beholder.checkpoint.rules import Joined, Rule, Shaped, layer, same
from beholder.models.vit import ViT, ViTConfig
from beholder.pretrained.huggingface.family import Family, Values, activation, refuse, self_attention
from beholder.pretrained.huggingface.vit import (
    ATTENTION_NAMES,
    biases,
    class_names,
    embeddings,
    labels,
    settle,
    shape,
    sides,
    trunk_values,
)
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.position import RotaryConfig
from beholder.trunk.transformer import TransformerConfig
from beholder.types import UserError

Kind = Literal["dinov2", "dinov2_with_registers"]
_ARCHITECTURES = {"dinov2": "Dinov2", "dinov2_with_registers": "Dinov2WithRegisters"}
_PROJECTIONS = {"query": "query_bias", "key": "key_bias", "value": "value_bias", "out": "proj_bias"}
"""Ours, and what DINOv3 calls their biases."""


def read_second(values: Values, kind: Kind) -> ViTConfig:
    patch_size, image_size = sides(values, 14 if kind == "dinov2" else 16)
    width, is_gated = values.get("hidden_size", 768), values.get("use_swiglu_ffn", False)
    inner = int(width * values.get("mlp_ratio", 4))
    trunk = TransformerConfig(
        width,
        values.get("num_hidden_layers", 12),
        AttentionConfig(values.get("num_attention_heads", 12), biases=biases(values.get("qkv_bias", True))),
        MLPConfig(_gated_width(inner), "silu", is_gated=True)
        if is_gated
        else MLPConfig(inner, activation(values, "hidden_act", "gelu")),
        NormConfig(eps=values.get("layer_norm_eps", 1e-6)),
        layer_scale=values.get("layerscale_value", 1.0),
    )
    is_classifier = f"{_ARCHITECTURES[kind]}ForImageClassification" in (values.get("architectures") or [])
    return ViTConfig(
        patch_size, image_size, positions="learned", has_class_position=True,
        num_registers=values.get("num_register_tokens", 4) if kind == "dinov2_with_registers" else 0,
        resampling="plain" if kind == "dinov2" else "antialiased",
        has_mask_token=values.get("use_mask_token", True),
        classes=class_names(values) if is_classifier else (),
        classifier_reads="summary_and_mean",
        trunk=trunk,
    )  # fmt: skip


def write_second(config: ViTConfig, kind: Kind) -> dict[str, Any]:
    trunk = config.trunk
    end = "ForImageClassification" if config.classes else "Model"
    values = {"architectures": [f"{_ARCHITECTURES[kind]}{end}"], **shape(config)}
    values.pop("intermediate_size")
    values |= {
        "mlp_ratio": _ratio(trunk), "use_swiglu_ffn": trunk.mlp.is_gated, "layerscale_value": trunk.layer_scale,
    }  # fmt: skip
    if trunk.mlp.is_gated:  # whose activation is silu whatever is said here
        values["hidden_act"] = "gelu"
    if kind == "dinov2":
        values["use_mask_token"] = config.has_mask_token
    else:
        values["num_register_tokens"] = config.num_registers
    return values | labels(config)


def rules_second(config: ViTConfig, kind: Kind) -> list[Rule]:
    trunk, width = config.trunk, config.trunk.width
    found = [*embeddings("", f"{kind}.embeddings", config), *layer("trunk.norm", f"{kind}.layernorm")]
    if config.has_mask_token:
        found.append(same("mask", f"{kind}.embeddings.mask_token", Shaped((1, 1, width), (1, width))))
    widen, narrow = ("weights_in", "weights_out") if trunk.mlp.is_gated else ("fc1", "fc2")
    for index in range(trunk.depth):
        ours, theirs = f"trunk.blocks.{index}", f"{kind}.encoder.layer.{index}"
        found += _branches(ours, theirs)
        found += self_attention(
            f"{ours}.attention.body", f"{theirs}.attention", trunk.attention, width, ATTENTION_NAMES
        )
        found += layer(f"{ours}.mlp.body.widen", f"{theirs}.mlp.{widen}")  # the gate's rows first, as ours
        found += layer(f"{ours}.mlp.body.narrow", f"{theirs}.mlp.{narrow}")
    return found + (layer("classifier", "classifier") if config.classes else [])


def read_third(values: Values) -> ViTConfig:
    """What shakes positions in training (`pos_embed_shift`, `_jitter`, `_rescale`) is not read."""
    patch_size, image_size = sides(values, 16)
    added = tuple(ours for ours, theirs in _PROJECTIONS.items() if values.get(theirs, ours != "key"))
    trunk = TransformerConfig(
        values.get("hidden_size", 384),
        values.get("num_hidden_layers", 12),
        AttentionConfig(values.get("num_attention_heads", 6), biases=added),  # type: ignore[arg-type]
        MLPConfig(
            values.get("intermediate_size", 1536), activation(values, "hidden_act", "gelu"),
            is_gated=values.get("use_gated_mlp", False), has_bias=values.get("mlp_bias", True),
        ),
        NormConfig(eps=values.get("layer_norm_eps", 1e-5)),
        rotary=RotaryConfig(_theta(values), axes="grid"),
        layer_scale=values.get("layerscale_value", 1.0),
    )  # fmt: skip
    return ViTConfig(
        patch_size, image_size, positions="none", num_registers=values.get("num_register_tokens", 0),
        has_mask_token=True, trunk=trunk,
    )  # fmt: skip


def write_third(config: ViTConfig) -> dict[str, Any]:
    trunk = config.trunk
    assert trunk.rotary is not None
    return {
        "architectures": ["DINOv3ViTModel"],
        "patch_size": config.patch_size,
        "image_size": config.image_size,
        "num_channels": 3,
        **trunk_values(trunk),
        **{theirs: ours in trunk.attention.biases for ours, theirs in _PROJECTIONS.items()},
        "mlp_bias": trunk.mlp.has_bias,
        "use_gated_mlp": trunk.mlp.is_gated,
        "num_register_tokens": config.num_registers,
        "rope_theta": trunk.rotary.theta,
        "layerscale_value": trunk.layer_scale,
    }


def rules_third(config: ViTConfig) -> list[Rule]:
    trunk = config.trunk
    inner, has_bias = trunk.mlp.width or 4 * trunk.width, trunk.mlp.has_bias
    both = Joined((1, config.num_registers), dim=1)
    found = [
        *layer("embed.project", "embeddings.patch_embeddings"),
        Rule(("prefix",), ("embeddings.cls_token", "embeddings.register_tokens"), both),
        same("mask", "embeddings.mask_token"),
        *layer("trunk.norm", "norm"),
    ]
    for index in range(trunk.depth):
        ours, theirs = f"trunk.blocks.{index}", f"layer.{index}"
        found += _branches(ours, theirs)
        found += self_attention(
            f"{ours}.attention.body", f"{theirs}.attention", trunk.attention, trunk.width,
            ("q_proj", "k_proj", "v_proj", "o_proj"),
        )  # fmt: skip
        found += layer(f"{ours}.mlp.body.narrow", f"{theirs}.mlp.down_proj", has_bias=has_bias)
        if not trunk.mlp.is_gated:
            found += layer(f"{ours}.mlp.body.widen", f"{theirs}.mlp.up_proj", has_bias=has_bias)
            continue
        for part in ("weight", *["bias"] * has_bias):
            names = (f"{theirs}.mlp.gate_proj.{part}", f"{theirs}.mlp.up_proj.{part}")
            found.append(Rule((f"{ours}.mlp.body.widen.{part}",), names, Joined((inner, inner))))
    return found


def _branches(ours: str, theirs: str) -> list[Rule]:
    """Norm and scale of both branches of a block."""
    return [
        *layer(f"{ours}.attention.norm", f"{theirs}.norm1"),
        same(f"{ours}.attention.scale", f"{theirs}.layer_scale1.lambda1"),
        *layer(f"{ours}.mlp.norm", f"{theirs}.norm2"),
        same(f"{ours}.mlp.scale", f"{theirs}.layer_scale2.lambda1"),
    ]


def _theta(values: Values) -> float:
    """Of rotary positions, said in either of two places."""
    told = values.get("rope_parameters") or {}
    refuse(told, rope_type="default")
    return float(told.get("rope_theta", values.get("rope_theta", 100.0)))


def _gated_width(inner: int) -> int:
    """Two thirds, so that a gated network has as many parameters as a plain one, to the next multiple of 8."""
    return (inner * 2 // 3 + 7) // 8 * 8


def _ratio(trunk: TransformerConfig) -> int:
    """Of the inner width to the trunk's, from which DINOv2's configuration tells it. Raises UserError for others."""
    wanted = trunk.mlp.width or 4 * trunk.width
    for ratio in range(1, 65):
        inner = ratio * trunk.width
        if (_gated_width(inner) if trunk.mlp.is_gated else inner) == wanted:
            return ratio
    raise UserError(
        f"A feed-forward network of {wanted} beside a width of {trunk.width} cannot be written as DINOv2, which knows "
        "whole ratios only; choose such a ratio."
    )


def _second(kind: Kind) -> Family:
    parts = (partial(part, kind=kind) for part in (read_second, write_second))
    return Family(*parts, ViT, partial(rules_second, kind=kind), prefix=f"{kind}.", settle=settle)  # type: ignore[misc]


DINOV2, DINOV2_WITH_REGISTERS = _second("dinov2"), _second("dinov2_with_registers")
DINOV3 = Family(read_third, write_third, ViT, rules_third, older=((r"^model\.(?=layer\.)", ""),))
