"""The words of a language model of one's own: byte pairs learned from its texts, case and space and line ends kept.

Byte pairs: Sennrich et al. 2016, arXiv 1508.07909; over bytes, so that any text can be written: Radford et al. 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from beholder.tokenizers.text import SpecialTokens, Words, WordsConfig
from beholder.tokenizers.word_tables import library, surround
from beholder.types import UserError

FEWEST = 256
"""Tokens: the bytes."""
BEGIN, END, ASKS, SAYS = "<|begin|>", "<|end|>", "<|user|>", "<|assistant|>"
CHAT = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""How conversations are written, in the manner of chat templates."""


def learn_words(texts: Sequence[str], vocabulary_size: int, longest: int, *, are_conversations: bool = False) -> Words:
    """A table of at most so many byte pairs and a few special tokens, the same in every process. Models that use it
    read `longest` tokens. Of conversations it brings a chat template. Raises UserError for fewer tokens than bytes."""
    if vocabulary_size < FEWEST:
        raise UserError(f"--vocabulary-size {vocabulary_size}: the bytes alone are {FEWEST}; give more.")
    lib = library()
    table = lib.Tokenizer(lib.models.BPE())
    table.normalizer = lib.normalizers.NFC()
    table.pre_tokenizer = lib.pre_tokenizers.ByteLevel(add_prefix_space=False)
    table.decoder = lib.decoders.ByteLevel()
    trainer = lib.trainers.BpeTrainer(
        vocab_size=vocabulary_size, min_frequency=2, show_progress=False, special_tokens=[],
        initial_alphabet=sorted(lib.pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    table.train_from_iterator(texts, trainer)
    table.add_special_tokens([BEGIN, END, *((ASKS, SAYS) if are_conversations else ())])
    surround(table, BEGIN, None)
    begin, end = table.token_to_id(BEGIN), table.token_to_id(END)
    assert begin is not None and end is not None, "they were added a moment ago"
    declared: dict[str, Any] = {"bos_token": BEGIN, "eos_token": END, "clean_up_tokenization_spaces": False}
    if are_conversations:
        declared["chat_template"] = CHAT
    return Words(
        table, SpecialTokens(begin, end, pad=end, stops=(end,)),
        WordsConfig(longest, table.get_vocab_size(with_added_tokens=True)), declared,
    )  # fmt: skip
