"""Stage: how much of what was learned to keep, by what it gives on your own images and takes from general ones.

Between the model before and after tuning lie models that keep most of the gain and little of the loss (Wortsman et al.
2021, arXiv 2109.01903).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from beholder.recipes.tune.score import ask
from beholder.recipes.tune.session import Session
from beholder.recipes.tune.sets import TuningSet
from beholder.recipes.tune.tunable import Tunable

SHARES = tuple(tenth / 10 for tenth in range(11))
_EQUAL = 1e-9


@dataclass(frozen=True)
class Blends:
    """Validation scores of every share, from 0 (the model as it was) to 1 (all that was learned)."""

    shares: tuple[float, ...]
    own: tuple[float, ...]
    general: tuple[float, ...] | None

    def choose(self, may_lose: float | None) -> float:
        """The share with the largest sum of both scores; with `may_lose`, the best on your own images among those that
        lose at most so many points of the general score. The smaller of equals."""
        best, chosen = -float("inf"), 0.0
        for place, share in enumerate(self.shares):
            value = self.own[place]
            if self.general is not None and may_lose is not None:
                if self.general[0] - self.general[place] > may_lose / 100 + _EQUAL:
                    continue
            elif self.general is not None:
                value += self.general[place]
            if value > best + _EQUAL:
                best, chosen = value, share
        return chosen


def blend(session: Session, tunable: Tunable, sets: Sequence[TuningSet], stopped: str | None) -> Blends:
    """Validation scores of all shares; of none but 0 where training broke down."""
    shares = SHARES if stopped is None else SHARES[:1]
    rows: list[list[float]] = []
    with session.run.charged("blend"), session.log.progress("Blend", len(shares)) as advance:
        for share in shares:
            told = session.run.stage(f"blend-{share:.1f}", lambda share=share: _scores(session, tunable, sets, share))
            rows.append(told)
            advance()
    columns = [tuple(column) for column in zip(*rows, strict=True)]
    return Blends(shares, columns[0], columns[1] if len(sets) > 1 else None)


def _scores(session: Session, tunable: Tunable, sets: Sequence[TuningSet], share: float) -> list[float]:
    space = tunable.at(share)
    return [ask(space.model, one.validation, space.pixels, session.device).score for one in sets]
