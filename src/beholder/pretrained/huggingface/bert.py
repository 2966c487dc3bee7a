"""BERT (Devlin et al. 2018, arXiv 1810.04805) and sentence models such as MiniLM; the tensors tell its heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from beholder.checkpoint.rules import Rule, layer, same
from beholder.models.bert import BERT, BERTConfig
from beholder.pretrained.huggingface.family import (
    Family,
    Values,
    activation,
    activation_name,
    check_copies,
    refuse,
    self_attention,
)
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.transformer import TransformerConfig


def read(values: Values) -> BERTConfig:
    refuse(
        values, position_embedding_type="absolute", is_decoder=False, add_cross_attention=False,
        tie_word_embeddings=True,
    )  # fmt: skip
    trunk = TransformerConfig(
        values["hidden_size"],
        values["num_hidden_layers"],
        AttentionConfig(values["num_attention_heads"]),
        MLPConfig(values["intermediate_size"], activation(values, "hidden_act", "gelu")),
        NormConfig(eps=values.get("layer_norm_eps", 1e-12)),
        norm_at="post",
        has_final_norm=False,
    )
    kinds = set(values.get("architectures") or ["BertModel"])
    has_order_head = bool(kinds & {"BertForPreTraining", "BertForNextSentencePrediction"})
    return BERTConfig(
        values["vocab_size"],
        values.get("max_position_embeddings", 512),
        values.get("type_vocab_size", 2),
        has_word_head=bool(kinds & {"BertForMaskedLM", "BertForPreTraining"}),
        has_pooler=has_order_head or "BertModel" in kinds,
        has_order_head=has_order_head,
        trunk=trunk,
    )


def settle(config: BERTConfig, tensors: Mapping[str, Tensor]) -> BERTConfig:
    """Published files often hold more than their `architectures` say, and bare ones may lack the pooler."""
    names = {name.removeprefix("bert.") for name in tensors}
    table = "bert.embeddings.word_embeddings.weight"
    check_copies(
        tensors,
        {"cls.predictions.decoder.weight": table, "cls.predictions.decoder.bias": "cls.predictions.bias"},
    )
    return replace(
        config,
        has_word_head="cls.predictions.bias" in names,
        has_pooler="pooler.dense.weight" in names,
        has_order_head="cls.seq_relationship.weight" in names,
    )


def write(config: BERTConfig) -> dict[str, Any]:
    trunk = config.trunk
    kind = "BertForPreTraining" if config.has_order_head else "BertForMaskedLM" if config.has_word_head else "BertModel"
    return {
        "architectures": [kind],
        "vocab_size": config.vocabulary_size,
        "max_position_embeddings": config.num_positions,
        "type_vocab_size": config.num_kinds,
        "hidden_size": trunk.width,
        "num_hidden_layers": trunk.depth,
        "num_attention_heads": trunk.attention.num_heads,
        "intermediate_size": trunk.mlp.width or 4 * trunk.width,
        "hidden_act": activation_name(trunk.mlp.activation),
        "layer_norm_eps": trunk.norm.eps,
    }


def rules(config: BERTConfig) -> list[Rule]:
    trunk = config.trunk
    found = [
        same("embed.tokens.weight", "bert.embeddings.word_embeddings.weight"),
        same("embed.positions.weight", "bert.embeddings.position_embeddings.weight"),
        same("embed.kinds.weight", "bert.embeddings.token_type_embeddings.weight"),
        *layer("embed.norm", "bert.embeddings.LayerNorm"),
    ]
    for index in range(trunk.depth):
        ours, theirs = f"trunk.blocks.{index}", f"bert.encoder.layer.{index}"
        names = ("self.query", "self.key", "self.value", "output.dense")
        found += [
            *self_attention(f"{ours}.attention.body", f"{theirs}.attention", trunk.attention, trunk.width, names),
            *layer(f"{ours}.attention.norm", f"{theirs}.attention.output.LayerNorm"),
            *layer(f"{ours}.mlp.body.widen", f"{theirs}.intermediate.dense"),
            *layer(f"{ours}.mlp.body.narrow", f"{theirs}.output.dense"),
            *layer(f"{ours}.mlp.norm", f"{theirs}.output.LayerNorm"),
        ]
    if config.has_word_head:
        found += [
            *layer("head.dense", "cls.predictions.transform.dense"),
            *layer("head.norm", "cls.predictions.transform.LayerNorm"),
            same("head.bias", "cls.predictions.bias"),
        ]
    if config.has_pooler:
        found += layer("pooler", "bert.pooler.dense")
    if config.has_order_head:
        found += layer("order_head", "cls.seq_relationship")
    return found


BERT_FAMILY = Family(
    read,
    write,
    BERT,
    rules,
    ignored=("*embeddings.position_ids", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"),
    prefix="bert.",
    older=((r"LayerNorm\.gamma$", "LayerNorm.weight"), (r"LayerNorm\.beta$", "LayerNorm.bias")),
    settle=settle,
)
