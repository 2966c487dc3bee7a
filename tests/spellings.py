"""Small vocabularies as checkpoints have them, learned from a few lines."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

LINES = [
    "The quick brown fox jumps over the lazy dog; it's 42 times that we'll see it.",
    "A photo of a cracked solar cell, A photo of a whole solar cell.",
    "naïve café, ÉCOLE, 中文 字, emoji 🙂, tabs\tand\nlines",
] * 3
TEXTS = [
    *LINES[:3],
    "",
    " ",
    "a",
    "  two  spaces ",
    "I'M here, they've gone 1234",
    "unseen: ДОМ ☃ 日本 \x00 \u200b end",
    "a <|endoftext|> in the middle [SEP] of it</s>",
    "newline at the end\n",
]
END = "<|endoftext|>"
BEGIN = "<|startoftext|>"
_NUM_MERGES = 100
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def save_pairs(folder: Path, special: tuple[str, ...] = (END,), suffix: str = "") -> Path:
    """`vocab.json` and `merges.txt` of byte pairs, special tokens last as in GPT-2 and CLIP."""
    from tokenizers import pre_tokenizers

    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    lines = [line.lower() for line in LINES] if suffix else LINES
    words = [list(word) for line in lines for word, _ in splitter.pre_tokenize_str(line)]
    for word in words:
        word[-1] += suffix
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, *(letter + suffix for letter in alphabet if suffix)]
    merges = _merges(words, _NUM_MERGES)
    numbers = {piece: number for number, piece in enumerate([*pieces, *map("".join, merges), *special])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(numbers, ensure_ascii=False), encoding="utf-8")
    rows = "".join(f"{first} {second}\n" for first, second in merges)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{rows}", encoding="utf-8")
    return folder


def _merges(words: list[list[str]], count: int) -> list[tuple[str, str]]:
    """The commonest pairs, one after another; of equals the first in the alphabet, where the trainer of `tokenizers`
    takes another one in each process."""
    merges = []
    for _ in range(count):
        pairs = Counter(pair for word in words for pair in itertools.pairwise(word))
        most = max(pairs.values())
        first, second = min(pair for pair, times in pairs.items() if times == most)
        merges.append((first, second))
        for word in words:
            for place in range(len(word) - 2, -1, -1):
                if word[place : place + 2] == [first, second]:
                    word[place : place + 2] = [first + second]
    return merges


def save_pieces(folder: Path) -> Path:
    """`vocab.txt` of word pieces."""
    letters = sorted({letter for line in LINES for letter in line.lower() if not letter.isspace()})
    words = sorted({word for line in LINES for word in line.lower().split() if word.isalpha()})
    tails = [f"##{letter}" for letter in letters]
    folder.mkdir(parents=True, exist_ok=True)
    rows = dict.fromkeys([*PIECES, *letters, *tails, *words, "É", "cafe", "naive", "the", "The"])
    (folder / "vocab.txt").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return folder


def whole_file(folder: Path, reference: Any) -> Path:
    """What `save_pretrained` of a reference writes: `tokenizer.json` and its settings."""
    reference.save_pretrained(folder)
    return folder
