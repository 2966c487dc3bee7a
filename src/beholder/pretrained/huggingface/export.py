"""A model of ours as a folder that `transformers` opens: its Auto classes find model, tokenizer and preprocessing."""

from __future__ import annotations

import difflib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from beholder.checkpoint.rules import write_rules
from beholder.config import to_json
from beholder.models.vit import ViT, with_stored_positions
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.huggingface.checkpoint import settle, write_checkpoint
from beholder.pretrained.huggingface.families import FAMILIES
from beholder.pretrained.huggingface.family import Family, Values
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.huggingface.preprocess import write_pixels
from beholder.pretrained.huggingface.words import write_words
from beholder.tokenizers.pixels import PixelConfig
from beholder.tokenizers.text import Words
from beholder.types import UserError

_HANDED_ON = (
    "generation_config.json", "chat_template.jinja", "chat_template.json", "preprocessor_config.json",
    "processor_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model",
    "spiece.model", "sentencepiece.bpe.model", "normalizer.json",
)  # fmt: skip
"""Files of a foreign model that are kept as they were where nothing of ours takes their place."""


def export_to_huggingface(
    model: Bundle | Foreign | nn.Module,
    folder: str | Path,
    *,
    kind: str | None = None,
    pixels: PixelConfig | None = None,
    words: Words | None = None,
) -> str:
    """Write config.json and model.safetensors, and tokenizer and preprocessing where there are some; its `model_type`.

    Of a model that adapt made the backbone is written, which other libraries know, and not its head. `kind` is found by
    itself where only one family can say the model's configuration. Raises UserError when `folder` holds something, or
    no family can say it.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and holds something; choose another folder, nothing is overwritten.")
    values: Values | None = None
    source: Path | None = None
    if isinstance(model, Bundle):
        backbone = model.model.embedder.backbones[-1]
        size = getattr(backbone.config, "image_size", None)
        pixels = pixels or replace(model.pixels, reducing_gap=None, size=size or model.pixels.size)
        model = backbone
    if isinstance(model, ViT):
        model = with_stored_positions(model)
    if isinstance(model, Foreign):
        source = model.source
        kind, values = kind or model.kind, model.values if kind in (None, model.kind) else None
        pixels, words, config, model = pixels or model.pixels, words or model.words, model.config, model.model
    else:
        config = getattr(model, "config", None)
    if kind is None:
        kind = _find_kind(model, config)
    elif kind not in FAMILIES:
        near = difflib.get_close_matches(kind, FAMILIES, n=3) or sorted(FAMILIES)
        raise UserError(f"kind={kind!r} is no known family; known are {', '.join(near)}.")
    elif not _says(FAMILIES[kind], model, config):
        raise UserError(f"A {type(model).__name__} of this configuration cannot be written as {kind}.")
    if pixels is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_pixels(folder, pixels)
    write_checkpoint(folder, kind, model, config, values)
    if words is not None:
        write_words(folder, words)
    if source is not None:
        _hand_on(source, folder)
    return kind


def _hand_on(source: Path, folder: Path) -> None:
    for name in _HANDED_ON:
        if (source / name).is_file() and not (folder / name).exists():
            shutil.copyfile(source / name, folder / name)


def _find_kind(model: nn.Module, config: Any) -> str:
    kinds = [kind for kind, family in FAMILIES.items() if _says(family, model, config)]
    if not kinds:
        raise UserError(
            f"No family of the hub can say this {type(model).__name__}; known are {', '.join(sorted(FAMILIES))}."
        )
    if len(kinds) > 1:
        raise UserError(f"This {type(model).__name__} can be written as {' or '.join(kinds)}; choose with kind=.")
    return kinds[0]


def _says(family: Family, model: nn.Module, config: Any) -> bool:
    """Whether the family's config.json, read again, is this configuration: nothing of it is lost."""
    if not isinstance(family.build, type) or not isinstance(model, family.build):
        return False
    try:
        again = settle(family, family.read(family.write(config)), write_rules(model.state_dict(), family.rules(config)))
        return _plain(again) == _plain(config)
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError):  # it has no words for a part of it
        return False


def _plain(config: Any) -> Any:
    """JSON values, with what None stands for in a trunk written out, and without what acts in training only, or on
    speed."""

    def told(node: Any) -> Any:
        if isinstance(node, list):
            return [told(one) for one in node]
        if not isinstance(node, dict):
            return node
        node = {key: told(value) for key, value in node.items() if key not in ("drop_path", "kernel")}
        if {"width", "attention", "mlp"} <= node.keys():
            width, attention = node["width"], node["attention"]
            attention["num_key_heads"] = attention["num_key_heads"] or attention["num_heads"]
            attention["head_width"] = attention["head_width"] or width // attention["num_heads"]
            attention["biases"] = sorted(attention["biases"])
            node["mlp"]["width"] = node["mlp"]["width"] or 4 * width
        return node

    return told(to_json(config))
