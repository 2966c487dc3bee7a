"""Names of Idefics' tensors (Laurençon et al. 2023, arXiv 2306.16527).

Two tables hold the vocabulary, the language model's and the added tokens'; in ours they are one, and the heads too.
"""

from __future__ import annotations

from beholder.checkpoint.rules import Change, Joined, Rule, Same, Shaped, layer, same
from beholder.models.flamingo import FlamingoConfig
from beholder.models.vit import ViTConfig
from beholder.pretrained.huggingface.family import cross_attention, self_attention
from beholder.trunk.resampler import ResamplerConfig
from beholder.trunk.transformer import TransformerConfig

_NAMES = ("q_proj", "k_proj", "v_proj", "o_proj")


def rules(config: FlamingoConfig) -> list[Rule]:
    language = config.language
    sizes = (language.vocabulary_size - config.num_added_tokens, config.num_added_tokens)

    def vocabulary(ours: str, theirs: str, added: str) -> Rule:
        if not config.num_added_tokens:
            return same(ours, f"{theirs}.weight")
        return Rule((ours,), (f"{theirs}.weight", f"{theirs}.{added}.weight"), Joined(sizes))

    found = [
        vocabulary("language.embed.tokens.weight", "model.embed_tokens", "additional_embedding"),
        same("language.trunk.norm.weight", "model.norm.weight"),
        *_tower(config.vision),
    ]
    if config.resampler is not None:
        found += _resampler(config.resampler, config.vision.trunk.width)
    for index in range(language.trunk.depth):
        found += _block(f"language.trunk.blocks.{index}", f"model.layers.{index}", language.trunk)
    found += _looks(language.trunk)
    if not language.is_tied:
        found.append(vocabulary("language.head.weight", "lm_head", "additional_fc"))
    return found


def _block(ours: str, theirs: str, trunk: TransformerConfig) -> list[Rule]:
    return [
        same(f"{ours}.attention.norm.weight", f"{theirs}.input_layernorm.weight"),
        *self_attention(f"{ours}.attention.body", f"{theirs}.self_attn", trunk.attention, trunk.width, _NAMES),
        same(f"{ours}.mlp.norm.weight", f"{theirs}.post_attention_layernorm.weight"),
        *_gated_mlp(f"{ours}.mlp.body", f"{theirs}.mlp", trunk.mlp.width or 4 * trunk.width),
    ]


def _looks(trunk: TransformerConfig) -> list[Rule]:
    gated, width = trunk.gated, trunk.width
    assert gated is not None
    gate: Change = Shaped((width,), (1, 1, width)) if gated.gate == "vector" else Same()
    found = []
    for index in range(trunk.depth // gated.every):
        ours, theirs = f"language.trunk.looks.{index}", f"model.gated_cross_attn_layers.{index}"
        found += [
            same(f"{ours}.norm.weight", f"{theirs}.input_layernorm.weight"),
            *cross_attention(f"{ours}.attention", f"{theirs}.cross_attn", gated.attention, width, _NAMES),
            same(f"{ours}.attention_gate", f"{theirs}.alpha_cross_attn", gate),
            same(f"{ours}.mlp_norm.weight", f"{theirs}.post_attention_layernorm.weight"),
            *_gated_mlp(f"{ours}.mlp", f"{theirs}.mlp", gated.mlp.width or 4 * width),
            same(f"{ours}.mlp_gate", f"{theirs}.alpha_dense", gate),
        ]
        if gated.attention.qk_norm is not None:
            found.append(same(f"{ours}.attention.query_norm.weight", f"{theirs}.cross_attn.q_layer_norm.weight"))
            found.append(same(f"{ours}.attention.key_norm.weight", f"{theirs}.cross_attn.k_layer_norm.weight"))
    return found


def _gated_mlp(ours: str, theirs: str, inner: int) -> list[Rule]:
    wide = (f"{theirs}.gate_proj.weight", f"{theirs}.up_proj.weight")
    return [
        Rule((f"{ours}.widen.weight",), wide, Joined((inner, inner))),
        same(f"{ours}.narrow.weight", f"{theirs}.down_proj.weight"),
    ]


def _tower(config: ViTConfig) -> list[Rule]:
    trunk, theirs = config.trunk, "model.vision_model"
    num_places = (config.image_size // config.patch_size) ** 2 + 1
    found = [
        same("vision.embed.project.weight", f"{theirs}.embeddings.patch_embedding.weight"),
        same("vision.prefix", f"{theirs}.embeddings.class_embedding", Shaped((1, 1, trunk.width), (trunk.width,))),
        same(
            "vision.positions",
            f"{theirs}.embeddings.position_embedding.weight",
            Shaped((1, num_places, trunk.width), (num_places, trunk.width)),
        ),
        *layer("vision.norm", f"{theirs}.pre_layrnorm"),  # spelled so in every checkpoint
        *layer("vision_norm", f"{theirs}.post_layernorm"),
    ]
    for index in range(trunk.depth):
        block, place = f"vision.trunk.blocks.{index}", f"{theirs}.encoder.layers.{index}"
        names = ("q_proj", "k_proj", "v_proj", "out_proj")
        found += [
            *layer(f"{block}.attention.norm", f"{place}.layer_norm1"),
            *self_attention(f"{block}.attention.body", f"{place}.self_attn", trunk.attention, trunk.width, names),
            *layer(f"{block}.mlp.norm", f"{place}.layer_norm2"),
            *layer(f"{block}.mlp.body.widen", f"{place}.mlp.fc1"),
            *layer(f"{block}.mlp.body.narrow", f"{place}.mlp.fc2"),
        ]
    return found


def _resampler(config: ResamplerConfig, width: int) -> list[Rule]:
    theirs, names = "model.perceiver_resampler", ("q_proj", "k_proj", "v_proj", "output_proj")
    found = [same("resampler.queries", f"{theirs}.latents"), *layer("resampler.norm", f"{theirs}.layer_norm")]
    for index in range(config.depth):
        ours, first, second = (
            f"resampler.blocks.{index}", f"{theirs}.blocks.{index}.0", f"{theirs}.blocks.{index}.1",
        )  # fmt: skip
        found += [
            *layer(f"{ours}.source_norm", f"{first}.context_layer_norm"),
            *layer(f"{ours}.norm", f"{first}.latents_layer_norm"),
            *cross_attention(f"{ours}.attention", first, config.attention, width, names),
            *layer(f"{ours}.mlp_norm", f"{second}.ln"),
            same(f"{ours}.mlp.widen.weight", f"{second}.fc.weight"),
            same(f"{ours}.mlp.narrow.weight", f"{second}.c_proj.weight"),
        ]
        if config.attention.qk_norm is not None:
            found += layer(f"{ours}.attention.query_norm", f"{first}.q_layer_norm")
            found += layer(f"{ours}.attention.key_norm", f"{first}.k_layer_norm")
    return found
