"""Things that captions name, and how many of them are there: a share of false ones over what people name (CHAIR:
Rohrbach et al. 2018, arXiv 1809.02156), here for any list of things."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from beholder.runtime.words import words_of
from beholder.types import UserError

_ENGLISH = Path(__file__).with_name("things_english.txt")
_PLURALS = ("s", "es")


@dataclass(frozen=True)
class Things:
    """Names, each of one or more words, and the thing that each is a name of."""

    thing_of: Mapping[str, str]

    def names_in(self, text: str) -> list[str]:
        """Names as the list has them, in the order of the text, each once; the longest where several begin."""
        return list(dict.fromkeys(self._found(words_of(text))))

    def things_in(self, text: str) -> set[str]:
        """What the names are names of."""
        return {self.thing_of[name] for name in self.names_in(text)}

    @cached_property
    def _names(self) -> dict[tuple[str, ...], str]:
        return {tuple(words_of(name)): name for name in self.thing_of}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._names), default=0)

    def _found(self, words: list[str]) -> Iterator[str]:
        at = 0
        while at < len(words):
            name, length = self._at(words, at)
            if name is not None:
                yield name
            at += length

    def _at(self, words: list[str], at: int) -> tuple[str | None, int]:
        for length in range(min(self._longest, len(words) - at), 0, -1):
            taken = words[at : at + length]
            for last in (taken[-1], *(taken[-1][: -len(end)] for end in _PLURALS if taken[-1].endswith(end))):
                name = self._names.get((*taken[:-1], last))
                if name is not None:
                    return name, length
        return None, 1


def read_things(path: Path | None = None) -> Things:
    """Of a text file with a thing a line, its name first and other words for it after commas; # begins a remark. None:
    what English captions of photos name.

    Raises UserError for a file that is not there, holds nothing, or gives a word to two things.
    """
    source = path or _ENGLISH
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise UserError(f"{source}: {reason}; name a text file with a thing a line.") from error
    thing_of: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        names = [" ".join(words_of(name)) for name in line.partition("#")[0].split(",")]
        names = [name for name in names if name]
        for name in names:
            if thing_of.setdefault(name, names[0]) != names[0]:
                raise UserError(
                    f"{source}, line {number}: {name!r} is a name of {thing_of[name]!r} already; give it to one thing."
                )
    if not thing_of:
        raise UserError(f"{source} is empty; write a thing a line, its other words after commas.")
    return Things(thing_of)


@dataclass(frozen=True)
class ThingScores:
    """Of each caption."""

    true: Float[np.ndarray, " n"]
    """Things that it names and some reference names."""
    false: Float[np.ndarray, " n"]
    """Things that it names and none does."""
    known: Float[np.ndarray, " n"]
    """Things that the references name."""

    def told(self) -> dict[str, float]:
        """Means over captions, and shares of all that is named; JSON values."""
        named, known = self.true.sum() + self.false.sum(), self.known.sum()
        return {
            "things_true": float(self.true.mean()),
            "things_false": float(self.false.sum() / named) if named else 0.0,
            "things_found": float(self.true.sum() / known) if known else 0.0,
        }


def score_things(captions: Sequence[str], references: Sequence[Sequence[str]], things: Things) -> ThingScores:
    """What each caption names against all that people named of the image. A thing that is there and that nobody named
    counts as false: with five references that is rare, with one it is not."""
    said = [things.things_in(caption) for caption in captions]
    known = [set().union(*(things.things_in(text) for text in listed)) for listed in references]
    pairs = list(zip(said, known, strict=True))
    return ThingScores(
        np.array([len(own & right) for own, right in pairs], float),
        np.array([len(own - right) for own, right in pairs], float),
        np.array([len(right) for right in known], float),
    )
