"""What a long stage costs, booked while it runs."""

from __future__ import annotations

from beholder.runtime.energy import Stopwatch
from beholder.runtime.run_folder import RunFolder

_SECONDS_BETWEEN_BOOKINGS = 20


class Ledger:
    """Books the cost of a stage every 20 seconds, so that a killed run's cost is not forgotten."""

    def __init__(self, run: RunFolder, stage: str) -> None:
        self._run, self._stage, self._watch = run, stage, Stopwatch()

    def on_step(self) -> None:
        """After a step; books when it is time."""
        if self._watch.cost().seconds > _SECONDS_BETWEEN_BOOKINGS:
            self.close()

    def close(self) -> None:
        """Book what is not booked yet."""
        self._run.charge(self._stage, self._watch.cost())
        self._watch = Stopwatch()
