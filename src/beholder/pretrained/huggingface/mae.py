"""Masked autoencoders (He et al. 2021, arXiv 2111.06377), whose two tables of sines are stored and not trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from beholder.checkpoint.rules import Rule, layer, same
from beholder.models.mae import MAE, MAEConfig
from beholder.models.vit import ViTConfig
from beholder.pretrained.huggingface.family import Family, Values
from beholder.pretrained.huggingface.vit import blocks, embeddings, shape, sides, trunk, trunk_values


def read(values: Values) -> MAEConfig:
    patch_size, image_size = sides(values, 16)
    encoder = ViTConfig(
        patch_size, image_size, positions="fixed", has_class_position=True, resampling="plain", trunk=trunk(values)
    )
    return MAEConfig(
        encoder,
        None if "ViTMAEModel" in (values.get("architectures") or []) else trunk(values, "decoder_"),
        values.get("mask_ratio", 0.75),
        values.get("norm_pix_loss", False),
    )


def settle(config: MAEConfig, tensors: Mapping[str, Tensor]) -> MAEConfig:
    """An encoder may be saved alone, under the whole model's name too."""
    return config if any(name.startswith("decoder.") for name in tensors) else replace(config, decoder=None)


def write(config: MAEConfig) -> dict[str, Any]:
    values = {"architectures": ["ViTMAEModel"], **shape(config.encoder)}
    values |= {"mask_ratio": config.mask_ratio, "norm_pix_loss": config.has_normalised_target}
    if config.decoder is None:
        return values
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    told = trunk_values(config.decoder)
    return values | {"architectures": ["ViTMAEForPreTraining"], **{f"decoder_{key}": told[key] for key in sizes}}


def rules(config: MAEConfig) -> list[Rule]:
    found = [
        *embeddings("encoder.", "vit.embeddings", config.encoder),
        *layer("encoder.trunk.norm", "vit.layernorm"),
        *blocks("encoder.trunk.blocks", "vit.encoder.layer", config.encoder.trunk),
    ]
    if config.decoder is None:
        return found
    return [
        *found,
        *layer("embed", "decoder.decoder_embed"),
        same("mask", "decoder.mask_token"),
        same("positions", "decoder.decoder_pos_embed"),
        *blocks("trunk.blocks", "decoder.decoder_layers", config.decoder),
        *layer("trunk.norm", "decoder.decoder_norm"),
        *layer("paint", "decoder.decoder_pred"),
    ]


VIT_MAE = Family(
    read, write, MAE, rules, prefix="vit.", settle=settle,
    older=((r"^decoder\.decoder_encoder\.layer\.", "decoder.decoder_layers."),),
)  # fmt: skip
