"""Idefics, an open Flamingo (Laurençon et al. 2023, arXiv 2306.16527): a LLaMA that looks at a CLIP tower's tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from beholder.models.flamingo import Flamingo, FlamingoConfig
from beholder.models.gpt import GPTConfig
from beholder.models.vit import ViTConfig
from beholder.pretrained.huggingface.family import (
    Family,
    Values,
    activation,
    activation_name,
    check_copies,
    refuse,
    rotary,
    rotary_values,
)
from beholder.pretrained.huggingface.idefics_names import rules
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.gated import GatedConfig
from beholder.trunk.mask import MaskConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.resampler import ResamplerConfig
from beholder.trunk.transformer import TransformerConfig
from beholder.types import UserError

_GATES = {"float": "scalar", "vector": "vector"}


def read(values: Values) -> FlamingoConfig:
    vision = _vision(values.get("vision_config") or {})
    num_added = values.get("additional_vocab_size", 0)
    language = GPTConfig(
        values["vocab_size"] + num_added,
        None,
        is_tied=values.get("tie_word_embeddings", False),
        context_length=values.get("max_position_embeddings"),
        trunk=_language(values, vision.trunk.width),
    )
    resampler = None
    if values.get("use_resampler", False):
        told = values.get("perceiver_config") or {}
        norm = NormConfig(eps=1e-5)
        qk_norm = norm if told.get("qk_layer_norms_perceiver", False) else None
        attention = AttentionConfig(
            told.get("resampler_n_heads", 16), head_width=told.get("resampler_head_dim", 96), biases=(),
            qk_norm=qk_norm,
        )  # fmt: skip
        mlp = MLPConfig(4 * vision.trunk.width, "relu", has_bias=False)
        num_queries, depth = told.get("resampler_n_latents", 64), told.get("resampler_depth", 6)
        resampler = ResamplerConfig(num_queries, depth, attention, mlp, norm)
    return FlamingoConfig(vision, vision.trunk.norm, resampler, language, num_added)


def _language(values: Values, source_width: int) -> TransformerConfig:
    depth, every = values["num_hidden_layers"], values.get("cross_layer_interval", 1)
    if depth % every:
        raise UserError(
            f"config.json asks for cross_layer_interval={every}, which does not divide num_hidden_layers={depth}; "
            "correct one of them."
        )
    gate = values.get("alpha_type", "float")
    if gate not in _GATES:
        raise UserError(f"config.json asks for alpha_type={gate!r}; known are {', '.join(_GATES)}.")
    norm, num_heads = NormConfig("rms", values.get("rms_norm_eps", 1e-6)), values["num_attention_heads"]
    qk_norm = norm if values.get("qk_layer_norms", False) else None
    act = activation(values, "hidden_act", "silu")
    mlp = MLPConfig(values["intermediate_size"], act, is_gated=True, has_bias=False)
    looks = AttentionConfig(num_heads, biases=(), qk_norm=qk_norm)
    return TransformerConfig(
        values["hidden_size"],
        depth,
        AttentionConfig(num_heads, biases=()),
        mlp,
        norm,
        mask=MaskConfig(is_causal=True),
        rotary=rotary(values),
        gated=GatedConfig(source_width, every, _GATES[gate], looks, mlp),  # type: ignore[arg-type]
    )


def _vision(values: Values) -> ViTConfig:
    refuse(values, num_channels=3)
    trunk = TransformerConfig(
        values.get("embed_dim", 768),
        values.get("num_hidden_layers", 32),
        AttentionConfig(values.get("num_attention_heads", 16)),
        MLPConfig(values.get("intermediate_size", 5120), activation(values, "hidden_act", "gelu")),
        NormConfig(eps=values.get("layer_norm_eps", 1e-5)),
        has_final_norm=False,
    )
    return ViTConfig(
        values.get("patch_size", 14),
        values.get("image_size", 224),
        positions="learned",
        has_class_position=True,
        resampling="plain",
        has_patch_bias=False,
        embedding_norm=trunk.norm,
        trunk=trunk,
    )


def settle(config: FlamingoConfig, tensors: Mapping[str, Tensor]) -> FlamingoConfig:
    if config.language.is_tied:
        table = "model.embed_tokens"
        copies = {"weight": "weight", "additional_fc.weight": "additional_embedding.weight"}
        check_copies(tensors, {f"lm_head.{head}": f"{table}.{row}" for head, row in copies.items()})
    return config


def write(config: FlamingoConfig) -> dict[str, Any]:
    trunk, vision = config.language.trunk, config.vision
    assert trunk.gated is not None and trunk.rotary is not None
    values = {
        "architectures": ["IdeficsForVisionText2Text"],
        "vocab_size": config.language.vocabulary_size - config.num_added_tokens,
        "additional_vocab_size": config.num_added_tokens,
        "hidden_size": trunk.width,
        "num_hidden_layers": trunk.depth,
        "num_attention_heads": trunk.attention.num_heads,
        "intermediate_size": trunk.mlp.width or 4 * trunk.width,
        "hidden_act": activation_name(trunk.mlp.activation),
        "rms_norm_eps": trunk.norm.eps,
        "tie_word_embeddings": config.language.is_tied,
        "cross_layer_interval": trunk.gated.every,
        "alpha_type": next(theirs for theirs, ours in _GATES.items() if ours == trunk.gated.gate),
        "qk_layer_norms": trunk.gated.attention.qk_norm is not None,
        "use_resampler": config.resampler is not None,
        "vision_config": {
            "embed_dim": vision.trunk.width,
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "num_hidden_layers": vision.trunk.depth,
            "num_attention_heads": vision.trunk.attention.num_heads,
            "intermediate_size": vision.trunk.mlp.width or 4 * vision.trunk.width,
            "hidden_act": activation_name(vision.trunk.mlp.activation),
            "layer_norm_eps": vision.trunk.norm.eps,
        },
        **rotary_values(trunk.rotary),
    }
    if config.language.context_length is not None:
        values["max_position_embeddings"] = config.language.context_length
    if config.resampler is not None:
        attention = config.resampler.attention
        values["perceiver_config"] = {
            "use_resampler": True,
            "resampler_n_latents": config.resampler.num_queries,
            "resampler_depth": config.resampler.depth,
            "resampler_n_heads": attention.num_heads,
            "resampler_head_dim": attention.head_width or vision.trunk.width // attention.num_heads,
            "qk_layer_norms_perceiver": attention.qk_norm is not None,
        }
    return values


IDEFICS = Family(
    read,
    write,
    Flamingo,
    rules,
    ignored=("*.rotary_emb.inv_freq", "*.position_ids", "lm_head.weight", "lm_head.additional_fc.weight"),
    prefix="model.",
    settle=settle,
)
