"""Stage: texts in parts, and as the tokens that a model reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from beholder.data.texts import Text, Texts, read_texts
from beholder.recipes.language.settings import LanguageTraining
from beholder.recipes.sitting import Sitting
from beholder.runtime.files import write_text
from beholder.runtime.log import counted
from beholder.runtime.seed import numpy_generator
from beholder.tokenizers.chat import chat_of
from beholder.tokenizers.dialogues import DialogueRows
from beholder.tokenizers.text import Words
from beholder.types import UserError

Part = Literal["train", "validation", "test"]
_SHARE, _FEWEST = 0.1, 10


@dataclass(frozen=True)
class Written:
    """A text as tokens, from its beginning to its end."""

    text: Text
    tokens: Int[np.ndarray, " n"]
    counts: Bool[np.ndarray, " n"]
    """Whether a token is to be foretold: all but the first of a text, and the answers alone of a conversation."""

    @property
    def num_bytes(self) -> int:
        """Of what is to be foretold."""
        said = [answer for _, answer in self.text.turns] or [self.text.text]
        return sum(len(one.encode()) for one in said)


@dataclass(frozen=True)
class Material:
    """Texts that are read."""

    found: Texts
    texts: dict[Part, tuple[Text, ...]]
    facts: dict[str, object]


def gather(sitting: Sitting[LanguageTraining]) -> Material:
    """Read the texts and part them by chance: a tenth for validation, a tenth for the test. What was refused is listed
    in `quarantine.jsonl`. Raises UserError for fewer than ten texts."""
    found = read_texts(Path(sitting.data))
    sitting.log.stage("Read", found.description)
    lines = [json.dumps({"key": one.key, "reason": one.reason}, ensure_ascii=False) for one in found.refused]
    if lines:
        write_text(sitting.run.path / "quarantine.jsonl", "".join(f"{line}\n" for line in lines))
        sitting.log.warn(f"{len(lines):,} files or rows are left out; quarantine.jsonl tells which, and why")
    if len(found.texts) < _FEWEST:
        raise UserError(
            f"{sitting.data} has {counted(len(found.texts), 'text')} and at least {_FEWEST} are needed, so that some "
            "can be held out; give more, or a longer file."
        )
    order = numpy_generator(sitting.seed, "parts").permutation(len(found.texts))
    num_held = max(1, round(_SHARE * len(found.texts)))
    places = {"test": order[:num_held], "validation": order[num_held : 2 * num_held], "train": order[2 * num_held :]}
    texts: dict[Part, tuple[Text, ...]] = {
        name: tuple(found.texts[place] for place in sorted(places[name].tolist()))
        for name in ("train", "validation", "test")
    }
    facts = {
        "description": found.description,
        "num_found": len(found.texts) + len(found.refused) + found.num_double,
        "num_kept": len(found.texts),
        "num_quarantined": len(found.refused),
        "split": {name: len(listed) for name, listed in texts.items()},
        "notes": [f"texts that came again and were left out: {found.num_double:,}"] if found.num_double else [],
    }
    return Material(found, texts, facts)


def write_all(texts: Sequence[Text], words: Words, vocabulary_size: int) -> list[Written]:
    """As tokens. Raises UserError for a tokenizer without an end, and for what it cannot write."""
    rows = DialogueRows(words, 1, vocabulary_size, None, chat_of(words))
    begin = rows.end if words.special.begin is None else words.special.begin
    written = []
    for text in texts:
        if text.turns:
            row = rows.write(text.turns)
            tokens, counts = row.tokens, list(row.is_answer)
        else:
            tokens = [begin, *words.numbers(text.text), rows.end]
            counts = [False, *[True] * (len(tokens) - 1)]
        counts[0] = False
        written.append(Written(text, np.array(tokens), np.array(counts)))
    return written
