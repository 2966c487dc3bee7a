"""Published image codecs: VQGAN as its authors named the tensors (Esser et al. 2020, arXiv 2012.09841), and the same
shape as LlamaGen names them (Sun et al. 2024, arXiv 2406.06525)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from beholder.checkpoint.files import load_into, load_tensors
from beholder.checkpoint.rules import Rule, layer, read_rules, same
from beholder.models.codebook import CodebookConfig
from beholder.models.codec import CodecConfig, ImageCodec
from beholder.models.conv_coder import ConvCoderConfig
from beholder.types import UserError

_VQ16 = ConvCoderConfig(
    width=128,
    multipliers=(1, 1, 2, 2, 4),
    num_blocks=2,
    attention_levels=(4,),
    has_middle_attention=True,
    inner_width=256,
    patch_size=1,
)
PUBLISHED = {
    "taming-f16-1024": CodecConfig("conv", CodebookConfig("learned", num_codes=1024, width=256, is_unit=False), _VQ16),
    "taming-f16-16384": CodecConfig(
        "conv", CodebookConfig("learned", num_codes=16_384, width=256, is_unit=False), _VQ16, image_size=256
    ),
    "llamagen-vq16": CodecConfig("conv", CodebookConfig("learned", num_codes=16_384), _VQ16, image_size=256),
}
"""Shapes that were published: squares of 16 pixels a code."""
IGNORED = ("loss.*", "quantize.codebook_used", "quantize.ema_*")
"""Tensors that are there for training only: discriminator, LPIPS, counters."""


def load_published(path: Path, config: CodecConfig, naming: str = "taming") -> ImageCodec:
    """The codec of a safetensors file, in evaluation mode; `naming` is taming or llamagen.

    Pickled checkpoints (.ckpt, .pt), as both were published, are never read: write their `state_dict` as safetensors
    first. Raises UserError when a tensor is missing, left over or misshapen.
    """
    if naming not in NAMINGS:
        raise UserError(f"{naming}: no known naming of a codec's tensors; choose {' or '.join(NAMINGS)}.")
    codec = ImageCodec(config)
    tensors = read_rules(load_tensors(path), NAMINGS[naming](config), ignored=IGNORED, source=path)
    load_into(codec, tensors, path)
    return codec.eval().requires_grad_(False)


def taming_rules(config: CodecConfig) -> list[Rule]:
    """Levels of both halves are numbered from the finest, though the decoder begins with the coarsest."""
    conv, rules = config.conv, _ends()
    top = len(conv.multipliers) - 1
    for level in range(top + 1):
        down, up = f"encoder.down.{level}", f"decoder.up.{level}"
        rules += _level(conv, level, "encoder", level, (f"{down}.block", f"{down}.attn", f"{down}.downsample"))
        rules += _level(conv, level, "decoder", top - level, (f"{up}.block", f"{up}.attn", f"{up}.upsample"))
    for half in ("encoder", "decoder"):
        rules += _middle(conv, half, (f"{half}.mid.block_1", f"{half}.mid.attn_1", f"{half}.mid.block_2"))
    return rules


def llamagen_rules(config: CodecConfig) -> list[Rule]:
    """Levels of both halves are numbered in the order in which they are passed."""
    conv, rules = config.conv, _ends()
    top = len(conv.multipliers) - 1
    for level in range(top + 1):
        down, up = f"encoder.conv_blocks.{level}", f"decoder.conv_blocks.{top - level}"
        rules += _level(conv, level, "encoder", level, (f"{down}.res", f"{down}.attn", f"{down}.downsample"))
        rules += _level(conv, level, "decoder", top - level, (f"{up}.res", f"{up}.attn", f"{up}.upsample"))
    for half in ("encoder", "decoder"):
        rules += _middle(conv, half, (f"{half}.mid.0", f"{half}.mid.1", f"{half}.mid.2"))
    return rules


NAMINGS: dict[str, Callable[[CodecConfig], list[Rule]]] = {"taming": taming_rules, "llamagen": llamagen_rules}


def _ends() -> list[Rule]:
    """What both call the same: first and last convolutions, the table, and the convolutions beside it."""
    rules = [same("codebook.table", "quantize.embedding.weight")]
    for half in ("encoder", "decoder"):
        rules += layer(f"{half}.first", f"{half}.conv_in") + layer(f"{half}.norm", f"{half}.norm_out")
        rules += layer(f"{half}.last", f"{half}.conv_out")
    return rules + layer("encoder.narrow", "quant_conv") + layer("decoder.widen", "post_quant_conv")


def _level(conv: ConvCoderConfig, level: int, half: str, place: int, theirs: tuple[str, str, str]) -> list[Rule]:
    """One level of one half, whose parts lie one after the other in ours: blocks, each with its attention, a resize."""
    blocks, attention, resize = theirs
    widths = [conv.width * factor for factor in (1, *conv.multipliers)]
    is_encoder = half == "encoder"
    before = widths[level] if is_encoder else widths[min(level + 2, len(widths) - 1)]
    has_attention, rules, part = level in conv.attention_levels, [], 0
    for number in range(conv.num_blocks + (not is_encoder)):
        is_wider = (before if number == 0 else widths[level + 1]) != widths[level + 1]
        rules += _block(f"{half}.levels.{place}.{part}", f"{blocks}.{number}", is_wider)
        part += 1
        if has_attention:
            rules += _attention(f"{half}.levels.{place}.{part}", f"{attention}.{number}")
            part += 1
    is_last = level == (len(conv.multipliers) - 1 if is_encoder else 0)
    return rules if is_last else rules + layer(f"{half}.levels.{place}.{part}.conv", f"{resize}.conv")


def _middle(conv: ConvCoderConfig, half: str, theirs: tuple[str, str, str]) -> list[Rule]:
    first, attention, second = theirs
    rules = _block(f"{half}.middle.0", first, False)
    if conv.has_middle_attention:
        rules += _attention(f"{half}.middle.1", attention)
    return rules + _block(f"{half}.middle.{1 + conv.has_middle_attention}", second, False)


def _block(ours: str, theirs: str, is_wider: bool) -> list[Rule]:
    rules = [
        rule for part in ("norm1", "conv1", "norm2", "conv2") for rule in layer(f"{ours}.{part}", f"{theirs}.{part}")
    ]
    return rules + layer(f"{ours}.through", f"{theirs}.nin_shortcut") if is_wider else rules


def _attention(ours: str, theirs: str) -> list[Rule]:
    names = {"norm": "norm", "query": "q", "key": "k", "value": "v", "out": "proj_out"}
    return [rule for mine, name in names.items() for rule in layer(f"{ours}.{mine}", f"{theirs}.{name}")]
