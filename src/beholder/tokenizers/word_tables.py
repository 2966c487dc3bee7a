"""Tables of words, through the library `tokenizers` (the extra `hub`), which is imported when first used.

Byte pairs: Sennrich et al. 2016, arXiv 1508.07909; over bytes: Radford et al. 2019; word pieces: Wu et al. 2016, arXiv
1609.08144.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from beholder.types import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def library() -> ModuleType:
    """The library `tokenizers`. Raises UserError with the remedy when it is not installed."""
    try:
        import tokenizers
    except ImportError as error:
        raise UserError("Text needs the library tokenizers; install it with: pip install 'beholder[hub]'") from error
    return tokenizers


def parse(description: str) -> Tokenizer:
    """The content of a `tokenizer.json`. Cutting and filling that it may ask for are left to `Words.encode`, which
    tells of them. Raises ValueError for what is none."""
    try:
        table = library().Tokenizer.from_str(description)
    except UserError:
        raise
    except Exception as error:  # the library raises bare exceptions
        raise ValueError(str(error).splitlines()[0]) from error
    table.no_truncation()
    table.no_padding()
    return table


def byte_pairs(
    numbers: Mapping[str, int], merges: Sequence[tuple[str, str]], *, has_space_before: bool = False
) -> Tokenizer:
    """Byte pairs over bytes, as GPT-2 has them: any text can be written and nothing is unknown."""
    lib = library()
    table = lib.Tokenizer(lib.models.BPE(dict(numbers), list(merges), continuing_subword_prefix=""))
    table.pre_tokenizer = lib.pre_tokenizers.ByteLevel(add_prefix_space=has_space_before)
    table.decoder = lib.decoders.ByteLevel()
    return table


def clip_byte_pairs(
    numbers: Mapping[str, int], merges: Sequence[tuple[str, str]], *, begin: str, end: str
) -> Tokenizer:
    """Byte pairs as CLIP has them (Radford et al. 2021, arXiv 2103.00020): lower case, words end in </w>, digits stand
    alone, begin and end are put around every text."""
    lib = library()
    model = lib.models.BPE(
        dict(numbers), list(merges), continuing_subword_prefix="", end_of_word_suffix="</w>", unk_token=end
    )
    table = lib.Tokenizer(model)
    steps = lib.normalizers
    table.normalizer = steps.Sequence([steps.NFC(), steps.Replace(lib.Regex(r"\s+"), " "), steps.Lowercase()])
    endings = r"'s|'t|'re|'ve|'m|'ll|'d"
    pattern = rf"<\|startoftext\|>|<\|endoftext\|>|{endings}|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+"
    split = lib.pre_tokenizers.Split(lib.Regex(pattern), behavior="removed", invert=True)
    table.pre_tokenizer = lib.pre_tokenizers.Sequence([split, lib.pre_tokenizers.ByteLevel(add_prefix_space=False)])
    table.decoder = lib.decoders.ByteLevel()
    table.post_processor = lib.processors.RobertaProcessing(
        (end, numbers[end]), (begin, numbers[begin]), trim_offsets=False, add_prefix_space=False
    )
    return table


def word_pieces(
    numbers: Mapping[str, int],
    *,
    begin: str,
    end: str,
    unknown: str,
    is_lower: bool = True,
    keeps_accents: bool | None = None,
    splits_chinese: bool = True,
) -> Tokenizer:
    """Word pieces as BERT has them (Devlin et al. 2018, arXiv 1810.04805). `keeps_accents`: None goes by the case."""
    lib = library()
    table = lib.Tokenizer(lib.models.WordPiece(dict(numbers), unk_token=unknown))
    table.normalizer = lib.normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=splits_chinese,
        strip_accents=None if keeps_accents is None else not keeps_accents,
        lowercase=is_lower,
    )
    table.pre_tokenizer = lib.pre_tokenizers.BertPreTokenizer()
    table.decoder = lib.decoders.WordPiece(prefix="##")
    surround(table, begin, end)
    return table


def surround(table: Tokenizer, begin: str | None, end: str | None) -> None:
    """Put these around every text from now on."""
    shown = [one for one in (begin, "$A", end) if one is not None]
    table.post_processor = library().processors.TemplateProcessing(
        single=" ".join(f"{one}:0" for one in shown),
        pair=" ".join([*(f"{one}:0" for one in shown), "$B:1", *([f"{end}:1"] if end else [])]),
        special_tokens=[(one, table.token_to_id(one)) for one in dict.fromkeys((begin, end)) if one is not None],
    )
