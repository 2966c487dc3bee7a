"""That the sentences are read once: counted, not believed."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from beholder.data.stream import Stream
from beholder.runtime.log import Log
from beholder.tokenizers.sentences import SentenceConfig, read_sentences


def count_sentences(stream: Stream, grammar: SentenceConfig, num_steps: int, log: Log) -> dict[str, Any]:
    """How many sentences the steps read and how many of them came before, and the same of the pictures in them.

    Pictures are told apart by their codes: a picture, its mirror image and everything made of it are different views.
    """
    sentences, views = set(), set()
    num_sentences = num_views = 0
    with log.progress("Count", num_steps) as advance:
        for step in range(num_steps):
            tokens = stream.batch(step)["tokens"].numpy()
            codes = read_sentences(tokens, grammar)
            sentences.update(map(_digest, tokens))
            views.update(map(_digest, codes.reshape(-1, codes.shape[2])))
            num_sentences, num_views = num_sentences + len(tokens), num_views + codes.shape[0] * codes.shape[1]
            advance(1)
    return {
        "steps": num_steps,
        "sentences": num_sentences,
        "repeated": num_sentences - len(sentences),
        "views_read": num_views,
        "views": len(views),
        "reads_per_view": num_views / len(views),
    }


def _digest(row: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=12).digest()
