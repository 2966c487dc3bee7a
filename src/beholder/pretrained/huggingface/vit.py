"""ViT (Dosovitskiy et al. 2020, arXiv 2010.11929), which DeiT and DINO are saved as too; and what its kin share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from beholder.checkpoint.rules import Joined, Rule, layer, same
from beholder.models.vit import ViT, ViTConfig
from beholder.pretrained.huggingface.family import Family, Values, activation, refuse, self_attention
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.transformer import TransformerConfig
from beholder.types import UserError

ACTIVATION_NAMES = {
    "gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "quick_gelu": "quick_gelu", "relu": "relu", "silu": "silu",
}  # fmt: skip
"""Ours to theirs."""
ATTENTION_NAMES = ("attention.query", "attention.key", "attention.value", "output.dense")


def read(values: Values) -> ViTConfig:
    refuse(values, pooler_act="tanh")
    patch_size, image_size = sides(values, 16)
    width = values.get("hidden_size", 768)
    built = values.get("architectures") or []
    return ViTConfig(
        patch_size, image_size, positions="learned", has_class_position=True, resampling="plain",
        pooler_width=values.get("pooler_output_size") or width if "ViTModel" in built else None,
        classes=class_names(values) if "ViTForImageClassification" in built else (),
        trunk=trunk(values),
    )  # fmt: skip


def trunk(values: Values, prefix: str = "") -> TransformerConfig:
    """The trunk of ViT and MAE; `prefix` stands before the names of sizes."""
    usual = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    if prefix:
        usual = {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 16, "intermediate_size": 2048}
    width, depth, num_heads, inner = (values.get(f"{prefix}{key}", number) for key, number in usual.items())
    return TransformerConfig(
        width,
        depth,
        AttentionConfig(num_heads, biases=biases(values.get("qkv_bias", True))),
        MLPConfig(inner, activation(values, "hidden_act", "gelu")),
        NormConfig(eps=values.get("layer_norm_eps", 1e-12)),
    )


def biases(has_joint_bias: bool) -> Any:
    """Which projections add one: the way out always."""
    return ("query", "key", "value", "out") if has_joint_bias else ("out",)


def sides(values: Values, patch_size: int, image_size: int = 224) -> tuple[int, int]:
    """Of patches and images, in pixels. Raises UserError for what is not square or has not three channels."""
    refuse(values, num_channels=3)
    found = []
    for key, usual in (("patch_size", patch_size), ("image_size", image_size)):
        side = values.get(key, usual)
        if isinstance(side, list | tuple):
            if len(set(side)) != 1:
                raise UserError(f"config.json asks for {key}={list(side)}, which is not supported; only squares are.")
            side = side[0]
        found.append(int(side))
    return found[0], found[1]


def class_names(values: Values) -> tuple[str, ...]:
    """Of a classifier, in the order of its scores."""
    names = values.get("id2label")
    if names:
        return tuple(str(name) for _, name in sorted((int(number), name) for number, name in names.items()))
    return tuple(f"LABEL_{index}" for index in range(values.get("num_labels", 2)))


def settle(config: ViTConfig, tensors: Mapping[str, Tensor]) -> ViTConfig:
    """Pooler, classifier and mask token as the file has them, whatever the architecture's name says."""
    pooler = [tensor for name, tensor in tensors.items() if name.endswith("pooler.dense.weight")]
    classifier = tensors.get("classifier.weight")
    classes = config.classes if classifier is not None else ()
    if classifier is not None and not classes:
        classes = tuple(f"LABEL_{index}" for index in range(len(classifier)))
    return replace(
        config,
        pooler_width=len(pooler[0]) if pooler else None,
        classes=classes,
        has_mask_token=any(name.endswith("embeddings.mask_token") for name in tensors),
    )


def write(config: ViTConfig) -> dict[str, Any]:
    values = {"architectures": ["ViTForImageClassification" if config.classes else "ViTModel"], **shape(config)}
    if config.pooler_width:
        values["pooler_output_size"] = config.pooler_width
    return values | labels(config)


def shape(config: ViTConfig) -> dict[str, Any]:
    """What ViT, DINOv2 and MAE say alike."""
    trunk = config.trunk
    return {
        "patch_size": config.patch_size,
        "image_size": config.image_size,
        "num_channels": 3,
        "qkv_bias": "query" in trunk.attention.biases,
        **trunk_values(trunk),
    }


def trunk_values(trunk: TransformerConfig) -> dict[str, Any]:
    """A trunk as a config.json has it."""
    return {
        "hidden_size": trunk.width,
        "num_hidden_layers": trunk.depth,
        "num_attention_heads": trunk.attention.num_heads,
        "intermediate_size": trunk.mlp.width or 4 * trunk.width,
        "hidden_act": ACTIVATION_NAMES[trunk.mlp.activation],
        "layer_norm_eps": trunk.norm.eps,
    }


def labels(config: ViTConfig) -> dict[str, Any]:
    """The names of classes as a config.json has them."""
    if not config.classes:
        return {}
    return {
        "id2label": {str(index): name for index, name in enumerate(config.classes)},
        "label2id": {name: index for index, name in enumerate(config.classes)},
    }


def rules(config: ViTConfig) -> list[Rule]:
    found = [
        *embeddings("", "vit.embeddings", config),
        *layer("trunk.norm", "vit.layernorm"),
        *blocks("trunk.blocks", "vit.encoder.layer", config.trunk),
    ]
    if config.has_mask_token:
        found.append(same("mask", "vit.embeddings.mask_token"))
    if config.pooler_width:
        found += layer("pooler", "vit.pooler.dense")
    return found + (layer("classifier", "classifier") if config.classes else [])


def embeddings(ours: str, theirs: str, config: ViTConfig) -> list[Rule]:
    """Patches, class token, registers and positions of ViT, DINOv2 and MAE; `ours` is a prefix."""
    found = [
        *layer(f"{ours}embed.project", f"{theirs}.patch_embeddings.projection"),
        same(f"{ours}positions", f"{theirs}.position_embeddings"),
    ]
    if not config.num_registers:
        return [*found, same(f"{ours}prefix", f"{theirs}.cls_token")]
    both = Joined((1, config.num_registers), dim=1)
    return [*found, Rule((f"{ours}prefix",), (f"{theirs}.cls_token", f"{theirs}.register_tokens"), both)]


def blocks(ours: str, theirs: str, trunk: TransformerConfig) -> list[Rule]:
    """The blocks of ViT and MAE."""
    found = []
    for index in range(trunk.depth):
        mine, their = f"{ours}.{index}", f"{theirs}.{index}"
        found += layer(f"{mine}.attention.norm", f"{their}.layernorm_before")
        found += self_attention(
            f"{mine}.attention.body", f"{their}.attention", trunk.attention, trunk.width, ATTENTION_NAMES
        )
        found += layer(f"{mine}.mlp.norm", f"{their}.layernorm_after")
        found += layer(f"{mine}.mlp.body.widen", f"{their}.intermediate.dense")
        found += layer(f"{mine}.mlp.body.narrow", f"{their}.output.dense")
    return found


VIT = Family(read, write, ViT, rules, prefix="vit.", settle=settle)
