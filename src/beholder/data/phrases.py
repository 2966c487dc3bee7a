"""Phrases about one thing, out of English sentences about a whole image: "a small brown dog" for "dog"."""

from __future__ import annotations

from collections.abc import Sequence

from beholder.runtime.words import words_of

_BEGINS = {
    "a", "an", "the", "this", "that", "these", "those", "one", "two", "three", "four", "five", "six", "several",
    "some", "many", "few", "both", "another", "each", "his", "her", "its", "their", "my", "our",
}  # fmt: skip
_BREAKS = {
    "in", "on", "at", "of", "with", "and", "or", "by", "from", "to", "into", "onto", "over", "under", "through",
    "near", "behind", "beside", "across", "along", "around", "while", "as", "for", "is", "are", "was", "were", "be",
    "being", "has", "have", "had", "holding", "wearing", "carrying", "who", "which", "where", "there", "up", "down",
    "out", "off",
}  # fmt: skip
_MOST_BEFORE = 4


def phrase_about(name: str, text: str) -> str | None:
    """The name as the text has it, with what stands before it back to an article or a number; the name alone where
    something else stands between, and None where the text does not name it. A plural in s or es counts."""
    words, wanted = words_of(text), words_of(name)
    at = _place_of(wanted, words)
    if at is None:
        return None
    first = at
    for place in range(at - 1, max(-1, at - 1 - _MOST_BEFORE), -1):
        if words[place] in _BREAKS:
            break
        if words[place] in _BEGINS:
            first = place
            break
    return " ".join(words[first : at + len(wanted)])


def _place_of(wanted: Sequence[str], words: Sequence[str]) -> int | None:
    for at in range(len(words) - len(wanted) + 1):
        *before, last = words[at : at + len(wanted)]
        if before == list(wanted[:-1]) and last in (wanted[-1], f"{wanted[-1]}s", f"{wanted[-1]}es"):
            return at
    return None
