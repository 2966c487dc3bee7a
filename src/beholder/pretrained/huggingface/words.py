"""How a foreign checkpoint spells: `tokenizer.json`, or the older files that say the same, as `Words`, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beholder.pretrained.huggingface.absent import Absent
from beholder.pretrained.huggingface.family import Values
from beholder.runtime.files import read_json, write_json, write_text
from beholder.tokenizers.text import SpecialTokens, Words, WordsConfig
from beholder.tokenizers.word_tables import byte_pairs, clip_byte_pairs, library, parse, surround, word_pieces
from beholder.types import UserError

FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "generation_config.json",
    "vocab.json", "merges.txt", "vocab.txt", "chat_template.jinja",
)  # fmt: skip
"""What is read; a file of sentencepiece is not."""

_ROLES = {
    "begin": ("bos_token", "cls_token"),
    "end": ("eos_token", "sep_token"),
    "pad": ("pad_token",),
    "unknown": ("unk_token",),
    "mask": ("mask_token",),
}
_BERT = {"begin": "[CLS]", "end": "[SEP]", "pad": "[PAD]", "unknown": "[UNK]", "mask": "[MASK]"}
_END = "<|endoftext|>"
_GPT2 = {"begin": _END, "end": _END, "unknown": _END}
_CLIP = {"begin": "<|startoftext|>", "end": _END, "pad": _END, "unknown": _END}
_USUAL: Mapping[str, Mapping[str, str]] = {
    "BertTokenizer": _BERT, "CLIPTokenizer": _CLIP, "GPT2Tokenizer": _GPT2,
    "bert": _BERT, "clip": _CLIP, "clip_text_model": _CLIP, "gpt2": _GPT2,
}  # fmt: skip
"""Special tokens of tokenizers, and of models, where their files are silent."""
_LENGTHS = ("n_positions", "max_position_embeddings", "max_target_positions", "seq_length")
_NO_LIMIT = 10**9
"""A checkpoint without a limit states one with thirty digits."""
_FULL = ("siglip", "siglip_text_model")
_REMEDY = (
    "open it once with transformers, AutoTokenizer.from_pretrained(...).save_pretrained(...), which writes "
    "tokenizer.json"
)


def read_words(folder: Path, values: Values) -> Words:
    """The folder's tokenizer; `values` is its config.json.

    Raises Absent when there is none, or none that can be read; UserError for a broken file.
    """
    declared = _with_template(_group(folder / "tokenizer_config.json"), folder / "chat_template.jinja")
    roles = _roles(folder, values, declared)
    table = _table(folder, values, declared, roles)
    if any(declared.get(key) is not None for key in ("add_bos_token", "add_eos_token")):
        begin = roles.get("begin") if declared.get("add_bos_token") else None
        end = roles.get("end") if declared.get("add_eos_token") else None
        if not _surrounds_itself(declared):
            surround(table, begin, end)
    numbers = {role: number for role, name in roles.items() if (number := table.token_to_id(name)) is not None}
    ends = [numbers["end"]] if "end" in numbers else []
    stops = tuple(dict.fromkeys(ends + _stops(folder, values)))
    told = values.get("text_config") if isinstance(values.get("text_config"), dict) else values
    kind = str(values.get("model_type"))
    config = WordsConfig(
        _longest(told or values, declared),
        (told or values).get("vocab_size"),
        "left" if declared.get("padding_side") == "left" else "right",
        "left" if declared.get("truncation_side") == "left" else "right",
        is_full=kind in _FULL,
    )
    return Words(table, SpecialTokens(**numbers, stops=stops), config, declared)


def _with_template(declared: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Newer checkpoints have the template of their conversations in a file of its own."""
    if not path.is_file():
        return declared
    try:
        return {**declared, "chat_template": path.read_text(encoding="utf-8")}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text; download the folder again.") from error


def write_words(folder: Path, words: Words) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`, so that `transformers` opens them."""
    names = {}
    for role, keys in _ROLES.items():
        number = getattr(words.special, role)
        if number is not None:
            names[keys[0]] = words.table.id_to_token(number)
    if words.config.longest is not None:
        names["model_max_length"] = words.config.longest
    names |= {"padding_side": words.config.pad_side, "truncation_side": words.config.cut_side}
    write_text(folder / "tokenizer.json", words.table.to_str())
    write_json(
        folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **names, **words.declared}
    )


def _table(folder: Path, values: Values, declared: Mapping[str, Any], roles: Mapping[str, str]) -> Any:
    """The table, from the first of the forms that the folder has."""
    whole, pairs, pieces = (folder / name for name in ("tokenizer.json", "vocab.json", "vocab.txt"))
    foreign = sorted(path.name for path in folder.glob("*.model"))
    if not any(path.is_file() for path in (whole, pairs, pieces)):
        if foreign:
            raise Absent(f"{folder} has its tokenizer as {foreign[0]} only, which is not read here; {_REMEDY}.")
        raise Absent(f"{folder} holds no tokenizer.json, so it reads no text; download the folder again, or {_REMEDY}.")
    try:
        library()
    except UserError as error:
        raise Absent(str(error)) from error
    path = whole if whole.is_file() else pairs if pairs.is_file() else pieces
    try:
        if whole.is_file():
            return parse(whole.read_text(encoding="utf-8"))
        table = (
            _from_pairs(pairs, folder / "merges.txt", _class(values, declared), roles, declared)
            if pairs.is_file()
            else _from_pieces(pieces, roles, declared)
        )
    except UserError:
        raise
    except Exception as error:  # the library raises bare exceptions for tables that contradict themselves
        raise UserError(f"{path} cannot be used ({str(error).splitlines()[0]}); download the folder again.") from error
    _add(table, folder, roles, declared)
    return table


def _from_pairs(path: Path, merges: Path, kind: str, roles: Mapping[str, str], declared: Mapping[str, Any]) -> Any:
    if kind not in ("CLIPTokenizer", "GPT2Tokenizer"):
        raise Absent(f"{path} is for {kind}, whose rules are known from tokenizer.json only; {_REMEDY}.")
    if not merges.is_file():
        raise UserError(f"{merges} is missing beside {path.name}; download the folder again.")
    numbers = read_json(path)
    lines = merges.read_text(encoding="utf-8").split("\n")
    pairs = [
        (left, right)
        for left, _, right in (line.partition(" ") for line in lines if line and not line.startswith("#version"))
    ]
    if kind == "CLIPTokenizer":
        return clip_byte_pairs(numbers, pairs, begin=roles["begin"], end=roles["end"])
    return byte_pairs(numbers, pairs, has_space_before=bool(declared.get("add_prefix_space")))


def _from_pieces(path: Path, roles: Mapping[str, str], declared: Mapping[str, Any]) -> Any:
    lines = path.read_text(encoding="utf-8").split("\n")
    numbers = {line.removesuffix("\r"): index for index, line in enumerate(lines[:-1] if not lines[-1] else lines)}
    strips = declared.get("strip_accents")
    roles = {**_BERT, **roles}
    return word_pieces(
        numbers,
        begin=roles["begin"],
        end=roles["end"],
        unknown=roles["unknown"],
        is_lower=declared.get("do_lower_case", True),
        keeps_accents=None if strips is None else not strips,
        splits_chinese=declared.get("tokenize_chinese_chars", True),
    )


def _add(table: Any, folder: Path, roles: Mapping[str, str], declared: Mapping[str, Any]) -> None:
    """Tokens that stand beside the table, each at the number that is told for it; special ones are never split."""
    told = {name: int(number) for name, number in _group(folder / "added_tokens.json").items()}
    for number, one in (declared.get("added_tokens_decoder") or {}).items():
        told[_name(one)] = int(number)
    special = set(roles.values())
    for name in [*sorted(told, key=told.__getitem__), *sorted(special - told.keys())]:
        if name not in told and table.token_to_id(name) is None:
            continue  # a usual name that this table does not have
        table.add_special_tokens([name]) if name in special else table.add_tokens([name])
        if table.token_to_id(name) != told.get(name, table.token_to_id(name)):
            raise UserError(
                f"{folder} says that {name!r} is token {told[name]:,} and the table gives {table.token_to_id(name):,}; "
                "download the folder again."
            )


def _roles(folder: Path, values: Values, declared: Mapping[str, Any]) -> dict[str, str]:
    """Names of the special tokens: as the folder tells them, else as usual for its kind."""
    usual = _USUAL.get(_class(values, declared)) or _USUAL.get(str(values.get("model_type"))) or {}
    mapped = _group(folder / "special_tokens_map.json")
    roles = dict(usual)
    for role, keys in _ROLES.items():
        for key in reversed(keys):
            for source in (mapped, declared):
                if source.get(key) is not None:
                    roles[role] = _name(source[key])
    return roles


def _class(values: Values, declared: Mapping[str, Any]) -> str:
    """The class that a folder names for its tokenizer, or that its kind of model usually has."""
    name = str(declared.get("tokenizer_class") or values.get("tokenizer_class") or "").removesuffix("Fast")
    if name and name not in ("PreTrainedTokenizer", "TokenizersBackend"):
        return name
    usual = {"bert": "BertTokenizer", "clip": "CLIPTokenizer", "clip_text_model": "CLIPTokenizer"}
    usual |= {"gpt2": "GPT2Tokenizer", "opt": "GPT2Tokenizer"}
    return usual.get(str(values.get("model_type")), "a tokenizer of no name")


def _surrounds_itself(declared: Mapping[str, Any]) -> bool:
    """Whether begin and end belong to the kind of tokenizer, whatever is asked for."""
    return str(declared.get("tokenizer_class", "")).removesuffix("Fast") in ("BertTokenizer", "CLIPTokenizer")


def _stops(folder: Path, values: Values) -> list[int]:
    found = []
    for told in (_group(folder / "generation_config.json"), values):
        one = told.get("eos_token_id")
        found += one if isinstance(one, list) else [] if one is None else [one]
    return [number for number in found if isinstance(number, int)]


def _longest(values: Values, declared: Mapping[str, Any]) -> int | None:
    told = [declared.get("model_max_length"), *(values.get(key) for key in _LENGTHS)]
    known = [int(one) for one in told if isinstance(one, int | float) and 0 < one < _NO_LIMIT]
    return min(known, default=None)


def _name(token: Any) -> str:
    return str(token["content"]) if isinstance(token, Mapping) else str(token)


def _group(path: Path) -> dict[str, Any]:
    """A file of settings, empty where there is none."""
    if not path.is_file():
        return {}
    try:
        values = read_json(path)
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}); download the folder again.") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is no group of settings; download the folder again.")
    return values
