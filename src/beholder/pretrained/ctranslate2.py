"""Whisper as CTranslate2 holds it (MIT, OpenNMT/CTranslate2): a folder with `model.bin`, a file of its own form that
runs no code, the list of its tokens, and which of them are not to be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from beholder.checkpoint.rules import Rule, same
from beholder.models.whisper import Whisper, WhisperConfig, whisper_trunk
from beholder.pretrained.ctranslate2_file import read_variables
from beholder.pretrained.huggingface.absent import Absent
from beholder.pretrained.huggingface.checkpoint import fill
from beholder.pretrained.huggingface.family import head_sizes
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.huggingface.whisper import WHISPER
from beholder.pretrained.huggingface.words import read_words
from beholder.runtime.files import read_json
from beholder.tokenizers.text import SpecialTokens
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.transformer import TransformerConfig
from beholder.types import UserError

MODEL = "model.bin"
_KIND, _REVISION = "WhisperSpec", 3
_SETTINGS = {
    "decoder/activation": 3,  # gelu, the exact one
    "decoder/alibi": 0,
    "decoder/pre_norm": 1,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
}
"""Switches of its decoder, as they stand for Whisper."""
_READ = (*_SETTINGS, "encoder/num_heads", "decoder/num_heads", "decoder/alignment_heads", "decoder/alignment_layer")
"""Numbers that are no weights; the last two say whose attention is shown, and change nothing of what is said."""
_TABLE, _HEAD = "decoder/embeddings/weight", "decoder/projection/weight"
_END, _START, _NO_TIMES = "<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"


@dataclass(frozen=True)
class KeyLess:
    """A bias of several projections in one, among which the keys', which no softmax sees, is zero and not ours."""

    sizes: tuple[int, ...]
    key: int

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        if len(theirs[0]) != sum(self.sizes):
            raise ValueError(f"{len(theirs[0])} numbers instead of {sum(self.sizes)}")
        parts = list(theirs[0].split(self.sizes))
        if bool(parts.pop(self.key).any()):
            raise ValueError("its keys have a bias, which Whisper's have not")
        return parts

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        zeros = ours[0].new_zeros(self.sizes[self.key])
        return [torch.cat([*ours[: self.key], zeros, *ours[self.key :]])]


def load_ctranslate2(folder: Path) -> Foreign:
    """A Whisper from a folder as CTranslate2's converter writes it, in single precision, as that library computes on a
    CPU; every number of the file is used.

    Raises UserError when a file is missing or damaged, holds another model, or 8-bit weights.
    """
    path = folder / MODEL
    found = read_variables(path, _KIND, _REVISION)
    tensors = {name: one.float() if one.is_floating_point() else one for name, one in found.tensors.items()}
    _check(path, tensors, found.aliases)
    config = _configure(folder, tensors)
    with torch.device("meta"):
        model = Whisper(config)
    fill(model, replace(WHISPER, rules=rules, ignored=_READ, prefix="", settle=None), config, tensors, path)
    values = {"model_type": "whisper", **WHISPER.write(config)}
    absent: dict[str, str] = {}
    words = None
    try:
        words = read_words(folder, values)
        end = config.end_tokens[0]
        words = replace(words, special=SpecialTokens(begin=end, end=end, pad=end, unknown=end, stops=(end,)))
    except Absent as error:
        absent["words"] = str(error)
    return Foreign("whisper", model.eval().requires_grad_(False), config, None, words, folder, values, absent)


def rules(config: WhisperConfig) -> list[Rule]:
    """Their names and ours."""
    found = [
        *_linear("encoder.first", "encoder/conv1"),
        *_linear("encoder.second", "encoder/conv2"),
        same("encoder.times", "encoder/position_encodings/encodings"),
        same("embed.tokens.weight", _TABLE),
        same("embed.positions.weight", "decoder/position_encodings/encodings"),
    ]
    for ours, theirs, trunk in (("encoder.trunk", "encoder", config.encoder), ("decoder", "decoder", config.decoder)):
        found += _norm(f"{ours}.norm", f"{theirs}/layer_norm")
        for index in range(trunk.depth):
            found += _block(f"{ours}.blocks.{index}", f"{theirs}/layer_{index}", trunk)
    return found


def _block(ours: str, theirs: str, trunk: TransformerConfig) -> list[Rule]:
    sizes = head_sizes(trunk.attention, trunk.width)
    body, place = f"{ours}.attention.body", f"{theirs}/self_attention"
    found = [
        *_norm(f"{ours}.attention.norm", f"{place}/layer_norm"),
        same(f"{body}.qkv.weight", f"{place}/linear_0/weight"),
        Rule((f"{body}.query_bias", f"{body}.value_bias"), (f"{place}/linear_0/bias",), KeyLess(sizes, key=1)),
        *_linear(f"{body}.out", f"{place}/linear_1"),
    ]
    if trunk.source_width is not None:
        body, place = f"{ours}.cross.body", f"{theirs}/attention"
        found += [
            *_norm(f"{ours}.cross.norm", f"{place}/layer_norm"),
            same(f"{body}.query.weight", f"{place}/linear_0/weight"),
            same(f"{body}.query_bias", f"{place}/linear_0/bias"),
            same(f"{body}.key_value.weight", f"{place}/linear_1/weight"),
            same(f"{body}.value_bias", f"{place}/linear_1/bias", KeyLess(sizes[1:], key=0)),
            *_linear(f"{body}.out", f"{place}/linear_2"),
        ]
    return [
        *found,
        *_norm(f"{ours}.mlp.norm", f"{theirs}/ffn/layer_norm"),
        *_linear(f"{ours}.mlp.body.widen", f"{theirs}/ffn/linear_0"),
        *_linear(f"{ours}.mlp.body.narrow", f"{theirs}/ffn/linear_1"),
    ]


def _linear(ours: str, theirs: str) -> list[Rule]:
    return [same(f"{ours}.{part}", f"{theirs}/{part}") for part in ("weight", "bias")]


def _norm(ours: str, theirs: str) -> list[Rule]:
    return [same(f"{ours}.weight", f"{theirs}/gamma"), same(f"{ours}.bias", f"{theirs}/beta")]


def _check(path: Path, tensors: Mapping[str, Tensor], aliases: Mapping[str, str]) -> None:
    """Raise UserError for whatever is another model than the one that is built here."""
    small = sorted(name for name in tensors if name.endswith("_scale"))
    if small:
        raise UserError(
            f"{path} holds weights of 8 or 16 bits with scales ({small[0]}), which are not read; convert the model "
            "with ct2-transformers-converter --quantization float16."
        )
    for name, expected in _SETTINGS.items():
        if name in tensors and tensors[name].tolist() != expected:
            raise UserError(
                f"{path} has {name} = {tensors[name].tolist()}, and Whisper as it is known here {expected}."
            )
    if aliases != {_HEAD: _TABLE}:
        raise UserError(f"{path} has another head than its table of tokens; Whisper has one of both.")


def _configure(folder: Path, tensors: Mapping[str, Tensor]) -> WhisperConfig:
    """Shapes tell the sizes, the list of tokens their roles, config.json what is not to be told."""
    names = _vocabulary(folder)
    told = _group(folder / "config.json")
    lacking = [name for name in (_END, _START) if name not in names]
    if lacking:
        raise UserError(f"{folder} has no token {lacking[0]} in its list; download the folder again.")
    try:
        vocabulary_size, width = tensors[_TABLE].shape
        hears = tensors["encoder/conv1/weight"].shape[1]
        length = len(tensors["encoder/position_encodings/encodings"])
        longest = len(tensors["decoder/position_encodings/encodings"])
        encoder, decoder = (_trunk(side, tensors, width) for side in ("encoder", "decoder"))
    except (LookupError, ValueError, RuntimeError, AssertionError) as error:
        reason = f"it lacks {error.args[0]}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise UserError(f"{folder / MODEL} is no Whisper ({reason}); download the folder again.") from error
    if len(names) != vocabulary_size:
        raise UserError(
            f"{folder} lists {len(names):,} tokens for a table of {vocabulary_size:,}; download the folder again."
        )
    number = {name: place for place, name in enumerate(names)}
    config = WhisperConfig(
        hears, length, vocabulary_size, longest, number[_START], (number[_END],), number[_END],
        suppressed_tokens=_tokens(folder, told, "suppress_ids"),
        first_suppressed_tokens=_tokens(folder, told, "suppress_ids_begin"),
        encoder=encoder,
        decoder=decoder,
    )  # fmt: skip
    if config.is_multilingual or _NO_TIMES not in number:
        return config
    return replace(config, forced_tokens=(number[_NO_TIMES],))


def _tokens(folder: Path, told: Mapping[str, Any], key: str) -> tuple[int, ...]:
    found = told.get(key) or []
    if not isinstance(found, list) or not all(isinstance(one, int) for one in found):
        raise UserError(f"{folder / 'config.json'}: {key} is no list of tokens; download the folder again.")
    return tuple(found)


def _trunk(side: str, tensors: Mapping[str, Tensor], width: int) -> TransformerConfig:
    depth = sum(name.startswith(f"{side}/layer_") and name.endswith("/ffn/linear_0/bias") for name in tensors)
    inner = len(tensors[f"{side}/layer_0/ffn/linear_0/bias"])
    num_heads = int(tensors[f"{side}/num_heads"])
    if num_heads < 1 or width % num_heads:
        raise ValueError(f"{num_heads} heads for a width of {width}")
    return whisper_trunk(width, depth, num_heads, MLPConfig(inner), is_decoder=side == "decoder")


def _vocabulary(folder: Path) -> list[str]:
    """Tokens in the order of their numbers. Raises UserError when the list is missing or is none."""
    lines, listed = folder / "vocabulary.txt", folder / "vocabulary.json"
    if lines.is_file():
        try:
            return lines.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        except UnicodeDecodeError as error:
            raise UserError(f"{lines} is no text ({error.reason}); download the folder again.") from error
    if not listed.is_file():
        raise UserError(f"{folder} holds neither vocabulary.txt nor vocabulary.json; download the folder again.")
    found = _read(listed)
    if not isinstance(found, list):
        raise UserError(f"{listed} is no list of tokens; download the folder again.")
    return [str(one) for one in found]


def _group(path: Path) -> Mapping[str, Any]:
    found = _read(path) if path.is_file() else {}
    if not isinstance(found, dict):
        raise UserError(f"{path} is no group of settings; download the folder again.")
    return found


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}); download the folder again.") from error
