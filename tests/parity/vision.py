"""References of the vision families: small, random, told what both sides read, and asked what both sides say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from parity.reference import randomise, save
from torch import Tensor

from beholder.models.clip import CLIP, ImageTower, TextTower
from beholder.models.mae import MAE
from beholder.models.vit import ViT
from beholder.pretrained.huggingface.checkpoint import Checkpoint, read_checkpoint

Outputs = Mapping[str, Tensor]
NATIVE, WIDE, SMALL, LARGE = (24, 24), (20, 32), (16, 12), (28, 36)
"""Rows and columns of pixels; the tables are for `NATIVE`."""
END, LARGEST = 47, 49
"""Of a vocabulary of 50."""
_TRUNK: dict[str, Any] = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3}
_IMAGE: dict[str, Any] = {**_TRUNK, "intermediate_size": 40, "image_size": 24, "patch_size": 4}
_TEXT: dict[str, Any] = {
    "hidden_size": 30, "num_hidden_layers": 2, "num_attention_heads": 5, "intermediate_size": 44, "vocab_size": 50,
    "max_position_embeddings": 20, "bos_token_id": 1, "pad_token_id": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Inputs:
    """What is read; each model takes what it knows."""

    pixels: Tensor
    tokens: Tensor
    is_real: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Case:
    """One kind of checkpoint."""

    build: Callable[[], Any]
    """The reference."""
    end: int = END
    """Token that ends texts."""
    opened_with: Mapping[str, Any] = field(default_factory=dict)
    """What `from_pretrained` must be told to open it whole."""


@dataclass(frozen=True)
class Pair:
    """A reference, and ours that was read from what it saved."""

    case: Case
    reference: Any
    found: Checkpoint
    folder: Path


def make_pair(case: Case, folder: Path) -> Pair:
    """All parameters random, saved as users find it, read by us."""
    reference = randomise(case.build())
    save(reference, folder)
    return Pair(case, reference, read_checkpoint(folder), folder)


def draw(case: Case, size: tuple[int, int]) -> Inputs:
    """Three texts: one with several ends and padded with them, one that fills the table, one short."""
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(3, LARGEST + 1, (3, 20), generator=generator)
    tokens[tokens == case.end] = 5
    tokens[:, 3] = 48  # larger than an end token that is not the largest of all
    tokens[0, [9, 13, 15, 16, 17, 18, 19]] = case.end
    tokens[1, 19] = tokens[2, 6] = case.end
    tokens[2, 7:] = 1
    ends = torch.tensor([9, 19, 6])
    noise = torch.rand(2, size[0] // 4 * (size[1] // 4), generator=generator)
    pixels = torch.randn(2, 3, *size, generator=generator)
    return Inputs(pixels, tokens, torch.arange(20) <= ends[:, None], noise)


def say_ours(model: Any, inputs: Inputs) -> dict[str, Tensor]:
    """Everything that a model of ours can say."""
    match model:
        case ViT():
            return _say_vit(model, inputs.pixels)
        case ImageTower():
            return {"tokens": model.vit.hidden(inputs.pixels).values, "image": model(inputs.pixels)}
        case TextTower():
            is_real = inputs.is_real if model.config.pool == "end" else None
            hidden = model.hidden(inputs.tokens, is_real)
            said = hidden if is_real is None else hidden * is_real[:, :, None]
            return {"words": said, "text": model(inputs.tokens, is_real)}
        case CLIP():
            is_real = inputs.is_real if model.config.text.pool == "end" else None
            images, texts = model.encode_images(inputs.pixels), model.encode_texts(inputs.tokens, is_real)
            scores = model(inputs.pixels, inputs.tokens, is_real)
            tokens = model.image.vit.hidden(inputs.pixels).values
            return {"tokens": tokens, "image": images, "text": texts, "scores": scores}
        case MAE():
            return _say_mae(model, inputs)
    raise AssertionError(type(model))


def _say_vit(model: ViT, pixels: Tensor) -> dict[str, Tensor]:
    outputs = model(pixels)
    said = {"tokens": model.hidden(pixels).values, "summary": outputs.summary}
    if model.pooler is not None:
        said["pooled"] = model.pooled(outputs)
    if model.classifier is not None:
        said["scores"] = model.classify(outputs)
    if model.mask is not None:
        said["masked"] = model.hidden(pixels, _hidden(pixels)).values
    return said


def _say_mae(model: MAE, inputs: Inputs) -> dict[str, Tensor]:
    seen = model.encode(inputs.pixels, inputs.noise)
    said = {"tokens": seen.tokens.values, "hidden": seen.is_hidden.float()}
    if model.config.decoder is not None and inputs.pixels.shape[2:] == NATIVE:
        painted, is_hidden = model(inputs.pixels, inputs.noise)
        said |= {"painted": painted, "loss": model.loss(inputs.pixels, painted, is_hidden)}
    return said


def say_theirs(model: Any, inputs: Inputs) -> dict[str, Tensor]:
    """The same, asked of the reference."""
    name, pixels = type(model).__name__, inputs.pixels
    if name.startswith("ViTMAE"):
        return _say_their_mae(model, inputs)
    if name.startswith(("CLIP", "Siglip")):
        return _say_their_tower(model, inputs)
    stretch = {"interpolate_pos_encoding": True} if name.startswith("ViT") else {}
    bare = model if name.startswith("DINOv3") else model.base_model
    outputs = bare(pixels, **stretch)
    said = {"tokens": outputs.last_hidden_state, "summary": outputs.last_hidden_state[:, 0]}
    if getattr(bare, "pooler", None) is not None:
        said["pooled"] = outputs.pooler_output
    if hasattr(model, "classifier"):
        said["scores"] = model(pixels, **stretch).logits
    if getattr(bare.embeddings, "mask_token", None) is not None:
        said["masked"] = bare(pixels, bool_masked_pos=_hidden(pixels), **stretch).last_hidden_state
    return said


def _say_their_tower(model: Any, inputs: Inputs) -> dict[str, Tensor]:
    name, is_clip = type(model).__name__, type(model).__name__.startswith("CLIP")
    read: dict[str, Any] = {"input_ids": inputs.tokens}
    if is_clip:
        read["attention_mask"] = inputs.is_real.long()
    seen: dict[str, Any] = {"pixel_values": inputs.pixels, "interpolate_pos_encoding": True}
    if "Text" in name:
        outputs = model(**read)
        words = outputs.last_hidden_state
        text = outputs.text_embeds if "Projection" in name else outputs.pooler_output
        return {"words": words * inputs.is_real[:, :, None] if is_clip else words, "text": text}
    tower = model if name in ("CLIPVisionModel", "SiglipVisionModel") else model.vision_model
    outputs = tower(**seen)
    tokens = tower.post_layernorm(outputs.last_hidden_state) if is_clip else outputs.last_hidden_state
    if "Vision" in name:
        image = model(**seen).image_embeds if "Projection" in name else outputs.pooler_output
        return {"tokens": tokens, "image": tokens.mean(1) if image is None else image}
    both = model(**read, **seen)
    return {"tokens": tokens, "image": both.image_embeds, "text": both.text_embeds, "scores": both.logits_per_image}


def _say_their_mae(model: Any, inputs: Inputs) -> dict[str, Tensor]:
    """On other sizes only the encoder: the reference's decoder stretches its table as one long row, mixing rows."""
    outputs = model.base_model(inputs.pixels, noise=inputs.noise, interpolate_pos_encoding=True)
    said = {"tokens": outputs.last_hidden_state, "hidden": outputs.mask}
    if hasattr(model, "decoder") and inputs.pixels.shape[2:] == NATIVE:
        whole = model(inputs.pixels, noise=inputs.noise)
        said |= {"painted": whole.logits, "loss": whole.loss}
    return said


def _hidden(pixels: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.rand(len(pixels), pixels.shape[2] // 4 * (pixels.shape[3] // 4), generator=generator) < 0.4


def _reference(name: str, config: str, more: Mapping[str, Any] | None = None, **values: Any) -> Callable[[], Any]:
    def build() -> Any:
        import transformers

        return getattr(transformers, name)(getattr(transformers, config)(**values), **(more or {}))

    return build


def _clip(end: int = END) -> Callable[[], Any]:
    text = {**_TEXT, "eos_token_id": end}
    return _reference("CLIPModel", "CLIPConfig", text_config=text, vision_config=_IMAGE, projection_dim=14)


def _dino(name: str, **values: Any) -> Callable[[], Any]:
    config = name.removesuffix("Model").removesuffix("ForImageClassification") + "Config"
    return _reference(name, config, **_TRUNK, image_size=24, patch_size=4, layer_norm_eps=3e-6, **values)


def _mae(name: str, **values: Any) -> Callable[[], Any]:
    decoder = {
        "decoder_hidden_size": 20, "decoder_num_hidden_layers": 2, "decoder_num_attention_heads": 5,
        "decoder_intermediate_size": 36,
    }  # fmt: skip
    return _reference(name, "ViTMAEConfig", **_IMAGE, **decoder, **values)


_SIGLIP_TEXT: dict[str, Any] = {**_TEXT, "eos_token_id": END, "projection_size": 24}
CASES: dict[str, Case] = {
    "clip": Case(_clip()),
    "clip, largest token": Case(_clip(2), end=LARGEST),
    "clip image": Case(_reference("CLIPVisionModel", "CLIPVisionConfig", **_IMAGE)),
    "clip image, projected": Case(
        _reference("CLIPVisionModelWithProjection", "CLIPVisionConfig", **_IMAGE, projection_dim=14)
    ),
    "clip text": Case(_reference("CLIPTextModel", "CLIPTextConfig", **_TEXT, eos_token_id=END)),
    "clip text, projected": Case(
        _reference("CLIPTextModelWithProjection", "CLIPTextConfig", **_TEXT, eos_token_id=END, projection_dim=14)
    ),
    "siglip": Case(_reference("SiglipModel", "SiglipConfig", text_config=_SIGLIP_TEXT, vision_config=_IMAGE)),
    "siglip image": Case(_reference("SiglipVisionModel", "SiglipVisionConfig", **_IMAGE)),
    "siglip image, no head": Case(
        _reference("SiglipVisionModel", "SiglipVisionConfig", **_IMAGE, vision_use_head=False)
    ),
    "siglip text": Case(_reference("SiglipTextModel", "SiglipTextConfig", **_SIGLIP_TEXT)),
    "vit": Case(_reference("ViTModel", "ViTConfig", **_IMAGE, pooler_output_size=11)),
    "vit, no pooler": Case(
        _reference("ViTModel", "ViTConfig", {"add_pooling_layer": False, "use_mask_token": True}, **_IMAGE),
        opened_with={"add_pooling_layer": False, "use_mask_token": True},
    ),
    "vit classifier": Case(
        _reference("ViTForImageClassification", "ViTConfig", **_IMAGE, qkv_bias=False, num_labels=7)
    ),
    "dinov2": Case(_dino("Dinov2Model")),
    "dinov2, gated": Case(_dino("Dinov2Model", use_swiglu_ffn=True, mlp_ratio=3, qkv_bias=False)),
    "dinov2 classifier": Case(_dino("Dinov2ForImageClassification", use_mask_token=False, num_labels=7)),
    "dinov2, registers": Case(_dino("Dinov2WithRegistersModel", num_register_tokens=3)),
    "dinov2, registers, classifier": Case(_dino("Dinov2WithRegistersForImageClassification", num_labels=7)),
    "dinov3": Case(_dino("DINOv3ViTModel", num_register_tokens=3, intermediate_size=40)),
    "dinov3, gated": Case(
        _dino(
            "DINOv3ViTModel",
            num_register_tokens=4,
            intermediate_size=40,
            use_gated_mlp=True,
            hidden_act="silu",
            mlp_bias=False,
            key_bias=True,
            proj_bias=False,
            rope_theta=30.0,
        )
    ),
    "mae": Case(_mae("ViTMAEForPreTraining", mask_ratio=0.6)),
    "mae, normalised": Case(_mae("ViTMAEForPreTraining", norm_pix_loss=True, qkv_bias=False)),
    "mae encoder": Case(_mae("ViTMAEModel")),
}
TEXT_ONLY = ("clip text", "clip text, projected", "siglip text")
