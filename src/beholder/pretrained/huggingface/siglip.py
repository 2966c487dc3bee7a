"""SigLIP (Zhai et al. 2023, arXiv 2303.15343), whose second edition of fixed image sizes is saved as the first: texts
are read both ways and to their last token, images through a learned query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from beholder.checkpoint.rules import Parted, Rule, Shaped, layer, same
from beholder.models.clip import CLIP, CLIPConfig, ImageTower, ImageTowerConfig, TextTower, TextTowerConfig
from beholder.models.vit import ViTConfig
from beholder.pretrained.huggingface.clip import IGNORED, image_rules, part, text_rules, tower_trunk
from beholder.pretrained.huggingface.family import Family, Values, joint_biases
from beholder.pretrained.huggingface.vit import sides, trunk_values

_USUAL = (768, 12, 12, 3072)


def read(values: Values) -> CLIPConfig:
    image, text = read_image(part(values, "vision_config")), read_text(part(values, "text_config"))
    return CLIPConfig(image, text, logit_scale=0.0, logit_bias=0.0)


def read_image(values: Values) -> ImageTowerConfig:
    patch_size, image_size = sides(values, 16)
    vit = ViTConfig(
        patch_size, image_size, has_class_token=False, positions="learned", resampling="plain",
        pool="attention" if values.get("vision_use_head", True) else "mean",
        trunk=tower_trunk(values, _USUAL, "gelu_pytorch_tanh", 1e-6),
    )  # fmt: skip
    return ImageTowerConfig(vit)


def read_text(values: Values) -> TextTowerConfig:
    trunk = tower_trunk(values, _USUAL, "gelu_pytorch_tanh", 1e-6)
    return TextTowerConfig(
        values.get("vocab_size", 32000),
        values.get("max_position_embeddings", 64),
        pool="last",
        end_token=None,
        projection_width=values.get("projection_size") or trunk.width,
        has_projection_bias=True,
        trunk=trunk,
    )


def settle_image(config: ImageTowerConfig, tensors: Mapping[str, Tensor]) -> ImageTowerConfig:
    """Without its head the tower gives tokens; their mean is then the summary, as its classifiers take it."""
    has_head = any(name.endswith("head.probe") for name in tensors)
    return replace(config, vit=replace(config.vit, pool="attention" if has_head else "mean"))


def settle(config: CLIPConfig, tensors: Mapping[str, Tensor]) -> CLIPConfig:
    return replace(config, image=settle_image(config.image, tensors))


def write(config: CLIPConfig) -> dict[str, Any]:
    image, text = write_image(config.image), write_text(config.text)
    for values, kind in ((image, "siglip_vision_model"), (text, "siglip_text_model")):
        values.pop("architectures")
        values["model_type"] = kind
    return {"architectures": ["SiglipModel"], "vision_config": image, "text_config": text}


def write_image(config: ImageTowerConfig) -> dict[str, Any]:
    return {
        "architectures": ["SiglipVisionModel"],
        "patch_size": config.vit.patch_size,
        "image_size": config.vit.image_size,
        "num_channels": 3,
        "vision_use_head": config.vit.pool == "attention",
        **trunk_values(config.vit.trunk),
    }


def write_text(config: TextTowerConfig) -> dict[str, Any]:
    return {
        "architectures": ["SiglipTextModel"],
        "vocab_size": config.vocabulary_size,
        "max_position_embeddings": config.num_positions,
        "projection_size": config.projection_width,
        **trunk_values(config.trunk),
    }


def rules(config: CLIPConfig) -> list[Rule]:
    one = Shaped((), (1,))
    return [
        same("logit_scale", "logit_scale", one),
        same("logit_bias", "logit_bias", one),
        *rules_image(config.image, "image."),
        *rules_text(config.text, "text."),
    ]


def rules_image(config: ImageTowerConfig, ours: str = "") -> list[Rule]:
    found = image_rules(config.vit, f"{ours}vit")
    if config.vit.pool != "attention":
        return found
    width, pool, head = config.vit.trunk.width, f"{ours}vit.pool", "vision_model.head"
    matrices = (f"{pool}.attention.query.weight", f"{pool}.attention.key_value.weight")
    return [
        *found,
        same(f"{pool}.query", f"{head}.probe"),
        Rule(matrices, (f"{head}.attention.in_proj_weight",), Parted((width, 2 * width))),
        joint_biases(f"{pool}.attention", f"{head}.attention.in_proj_bias", (width, width, width)),
        *layer(f"{pool}.attention.out", f"{head}.attention.out_proj"),
        *layer(f"{pool}.norm", f"{head}.layernorm"),
        *layer(f"{pool}.mlp.widen", f"{head}.mlp.fc1"),
        *layer(f"{pool}.mlp.narrow", f"{head}.mlp.fc2"),
    ]


def rules_text(config: TextTowerConfig, ours: str = "") -> list[Rule]:
    return [*text_rules(config, ours), *layer(f"{ours}projection", "text_model.head")]


SIGLIP = Family(read, write, CLIP, rules, ignored=IGNORED, settle=settle)
SIGLIP_IMAGE = Family(
    read_image, write_image, ImageTower, rules_image, ignored=IGNORED, prefix="vision_model.", settle=settle_image
)
SIGLIP_TEXT = Family(read_text, write_text, TextTower, rules_text, ignored=IGNORED, prefix="text_model.")
