"""CLIP (Radford et al. 2021, arXiv 2103.00020): both towers together, or one saved alone, projected or not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from beholder.checkpoint.rules import Rule, Shaped, layer, same
from beholder.models.clip import CLIP, CLIPConfig, ImageTower, ImageTowerConfig, TextTower, TextTowerConfig
from beholder.models.vit import ViTConfig
from beholder.pretrained.huggingface.family import Family, Values, activation, self_attention
from beholder.pretrained.huggingface.vit import sides, trunk_values
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.mask import MaskConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.transformer import TransformerConfig
from beholder.types import UserError

_LARGEST = 2
"""This number of an end token, written before it was put right, means: whichever token is the largest."""
_SPACE = 512
"""Usual width of the shared space."""


def read(values: Values) -> CLIPConfig:
    width = values.get("projection_dim", _SPACE)
    image, text = part(values, "vision_config"), part(values, "text_config")
    return CLIPConfig(
        replace(read_image(image), projection_width=width),
        replace(read_text(text), projection_width=width),
        values.get("logit_scale_init_value", math.log(1 / 0.07)),
    )


def read_image(values: Values) -> ImageTowerConfig:
    patch_size, image_size = sides(values, 32)
    trunk = tower_trunk(values, (768, 12, 12, 3072), "quick_gelu", 1e-5)
    vit = ViTConfig(
        patch_size, image_size, positions="learned", has_class_position=True, resampling="plain",
        has_patch_bias=False, embedding_norm=trunk.norm, trunk=trunk,
    )  # fmt: skip
    return ImageTowerConfig(vit, _projection_width(values, "CLIPVisionModelWithProjection"))


def read_text(values: Values) -> TextTowerConfig:
    end = values.get("eos_token_id", 49407)
    if not isinstance(end, int):
        raise UserError(f"config.json asks for eos_token_id={end!r}, which is not supported; only a single number is.")
    trunk = tower_trunk(values, (512, 12, 8, 2048), "quick_gelu", 1e-5)
    return TextTowerConfig(
        values.get("vocab_size", 49408),
        values.get("max_position_embeddings", 77),
        end_token=None if end == _LARGEST else end,
        projection_width=_projection_width(values, "CLIPTextModelWithProjection"),
        trunk=replace(trunk, mask=MaskConfig(is_causal=True)),
    )


def part(values: Values, key: str) -> Values:
    """The settings of one tower; an older copy of them, where there is one, is what counts."""
    return values.get(f"{key}_dict") or values.get(key) or {}


def tower_trunk(values: Values, usual: tuple[int, int, int, int], bend: str, eps: float) -> TransformerConfig:
    """A tower of CLIP or SigLIP; `usual` are the width, depth, heads and inner width of a file that does not say."""
    keys = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    width, depth, num_heads, inner = (values.get(key, number) for key, number in zip(keys, usual, strict=True))
    return TransformerConfig(
        width, depth, AttentionConfig(num_heads), MLPConfig(inner, activation(values, "hidden_act", bend)),
        NormConfig(eps=values.get("layer_norm_eps", eps)),
    )  # fmt: skip


def _projection_width(values: Values, architecture: str) -> int | None:
    is_projected = architecture in (values.get("architectures") or [])
    return values.get("projection_dim", _SPACE) if is_projected else None


def settle_image(config: ImageTowerConfig, tensors: Mapping[str, Tensor]) -> ImageTowerConfig:
    projection = tensors.get("visual_projection.weight")
    return replace(config, projection_width=None if projection is None else len(projection))


def settle_text(config: TextTowerConfig, tensors: Mapping[str, Tensor]) -> TextTowerConfig:
    projection = tensors.get("text_projection.weight")
    return replace(config, projection_width=None if projection is None else len(projection))


def write(config: CLIPConfig) -> dict[str, Any]:
    image, text = write_image(config.image), write_text(config.text)
    for values, kind in ((image, "clip_vision_model"), (text, "clip_text_model")):
        values.pop("architectures")
        values["model_type"] = kind
    return {
        "architectures": ["CLIPModel"],
        "projection_dim": config.image.projection_width,
        "logit_scale_init_value": config.logit_scale,
        "vision_config": image,
        "text_config": text,
    }


def write_image(config: ImageTowerConfig) -> dict[str, Any]:
    end = "WithProjection" if config.projection_width else ""
    return {
        "architectures": [f"CLIPVisionModel{end}"],
        "patch_size": config.vit.patch_size,
        "image_size": config.vit.image_size,
        "num_channels": 3,
        "projection_dim": config.projection_width or _SPACE,
        **trunk_values(config.vit.trunk),
    }


def write_text(config: TextTowerConfig) -> dict[str, Any]:
    end = "WithProjection" if config.projection_width else ""
    return {
        "architectures": [f"CLIPTextModel{end}"],
        "vocab_size": config.vocabulary_size,
        "max_position_embeddings": config.num_positions,
        "bos_token_id": None,  # read by nobody, and the usual one lies outside of a small vocabulary
        "eos_token_id": _LARGEST if config.end_token is None else config.end_token,
        "projection_dim": config.projection_width or _SPACE,
        **trunk_values(config.trunk),
    }


def rules(config: CLIPConfig) -> list[Rule]:
    return [same("logit_scale", "logit_scale"), *rules_image(config.image, "image."), *rules_text(config.text, "text.")]


def rules_image(config: ImageTowerConfig, ours: str = "") -> list[Rule]:
    vit, width = config.vit, config.vit.trunk.width
    found = [
        same(f"{ours}vit.prefix", "vision_model.embeddings.class_embedding", Shaped((1, 1, width), (width,))),
        *layer(f"{ours}vit.norm", "vision_model.pre_layrnorm"),
        *image_rules(vit, f"{ours}vit"),
    ]
    if config.projection_width:
        found.append(same(f"{ours}projection.weight", "visual_projection.weight"))
    return found


def rules_text(config: TextTowerConfig, ours: str = "") -> list[Rule]:
    found = text_rules(config, ours)
    return [*found, same(f"{ours}projection.weight", "text_projection.weight")] if config.projection_width else found


def image_rules(vit: ViTConfig, ours: str) -> list[Rule]:
    """Patches, positions, blocks and last norm of an image tower of CLIP or SigLIP."""
    width, num_places = vit.trunk.width, (vit.image_size // vit.patch_size) ** 2 + vit.has_class_position
    table = Shaped((1, num_places, width), (num_places, width))
    return [
        *layer(f"{ours}.embed.project", "vision_model.embeddings.patch_embedding", has_bias=vit.has_patch_bias),
        same(f"{ours}.positions", "vision_model.embeddings.position_embedding.weight", table),
        *_blocks(f"{ours}.trunk.blocks", "vision_model.encoder.layers", vit.trunk),
        *layer(f"{ours}.trunk.norm", "vision_model.post_layernorm"),
    ]


def text_rules(config: TextTowerConfig, ours: str) -> list[Rule]:
    """Tables, blocks and last norm of a text tower of CLIP or SigLIP."""
    return [
        same(f"{ours}embed.tokens.weight", "text_model.embeddings.token_embedding.weight"),
        same(f"{ours}embed.positions.weight", "text_model.embeddings.position_embedding.weight"),
        *_blocks(f"{ours}trunk.blocks", "text_model.encoder.layers", config.trunk),
        *layer(f"{ours}trunk.norm", "text_model.final_layer_norm"),
    ]


def _blocks(ours: str, theirs: str, trunk: TransformerConfig) -> list[Rule]:
    found = []
    for index in range(trunk.depth):
        mine, their = f"{ours}.{index}", f"{theirs}.{index}"
        found += layer(f"{mine}.attention.norm", f"{their}.layer_norm1")
        found += self_attention(
            f"{mine}.attention.body", f"{their}.self_attn", trunk.attention, trunk.width,
            ("q_proj", "k_proj", "v_proj", "out_proj"),
        )  # fmt: skip
        found += layer(f"{mine}.mlp.norm", f"{their}.layer_norm2")
        found += layer(f"{mine}.mlp.body.widen", f"{their}.mlp.fc1")
        found += layer(f"{mine}.mlp.body.narrow", f"{their}.mlp.fc2")
    return found


IGNORED = ("*position_ids",)
"""Numbers in order that older files hold."""
CLIP_WHOLE = Family(read, write, CLIP, rules, ignored=IGNORED)
CLIP_IMAGE = Family(
    read_image, write_image, ImageTower, rules_image, ignored=IGNORED, prefix="vision_model.", settle=settle_image
)
CLIP_TEXT = Family(
    read_text, write_text, TextTower, rules_text, ignored=IGNORED, prefix="text_model.", settle=settle_text
)
