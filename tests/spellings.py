"""Small vocabularies as checkpoints have them, learned from a few lines."""

from __future__ import annotations

import json
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
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def save_pairs(folder: Path, special: tuple[str, ...] = (END,), suffix: str = "") -> Path:
    """`vocab.json` and `merges.txt` of byte pairs, special tokens last as in GPT-2 and CLIP."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    table = Tokenizer(models.BPE(end_of_word_suffix=suffix) if suffix else models.BPE())
    table.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    ending = {"end_of_word_suffix": suffix} if suffix else {}
    trainer = trainers.BpeTrainer(vocab_size=420, show_progress=False, initial_alphabet=alphabet, **ending)
    table.train_from_iterator([line.lower() for line in LINES] if suffix else LINES, trainer)
    described = json.loads(table.to_str())["model"]
    numbers: dict[str, int] = described["vocab"]
    for one in special:
        numbers[one] = len(numbers)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(numbers, ensure_ascii=False), encoding="utf-8")
    merges = "\n".join(" ".join(pair) for pair in described["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    return folder


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
