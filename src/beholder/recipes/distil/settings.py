"""What distilling can be told, and the sizes of students."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from beholder.recipes.budget import parse_budget
from beholder.types import UserError

Student = Literal["base", "small", "tiny"]
SIDES: dict[Student, int] = {"base": 224, "small": 160, "tiny": 96}
"""Of the one square that a student sees. It has one backbone, which begins as the teacher's last; the teacher that
adapt makes sees three squares, with one or two backbones."""
FEWEST = 40
"""Pictures to learn from."""


@dataclass(frozen=True)
class Distil:
    """Settings of a run; with the seed and the data they decide its numbers."""

    student: Student = "small"
    budget: str = "5m"
    """Of training; what the teacher says is looked up before."""
    pictures: int = 4096
    """At most so many are learned from."""
    views: int = 4096
    """Pictures and cuttings of them that the teacher is asked about; of few pictures more cuttings each, four at
    most."""
    batch_size: int = 32
    lr: float = 3e-4

    def check(self) -> Distil:
        """Itself. Raises UserError for what cannot work."""
        if self.student not in SIDES:
            raise UserError(f"--student {self.student}: choose {', '.join(SIDES)}.")
        parse_budget(self.budget, needed=True)
        if self.pictures < FEWEST:
            raise UserError(f"--pictures {self.pictures}: give {FEWEST} pictures or more.")
        for option, value in (("--views", self.views), ("--batch-size", self.batch_size), ("--lr", self.lr)):
            if not 0 < value < math.inf:  # also where it is no number
                raise UserError(f"{option} {value:g}: give a number above 0.")
        return self
