"""The speed that `doctor` tells is that of a usual look: neither the first one nor a disturbed one."""

from __future__ import annotations

import pytest

import beholder
from beholder.recipes.doctor import median_seconds


class Machine:
    """Looks that take the given seconds, one after the other; the last one's again and again."""

    def __init__(self, *seconds: float) -> None:
        self.seconds, self.now, self.num_looks = seconds, 0.0, 0

    def look(self) -> None:
        self.now += self.seconds[min(self.num_looks, len(self.seconds) - 1)]
        self.num_looks += 1

    def time(self) -> float:
        return median_seconds(self.look, lambda: self.now)


def test_first_looks_and_bursts_of_others_do_not_count() -> None:
    assert Machine(9.0, 4.0, 0.1, 0.1, 0.7, 0.1, 0.3, 0.1).time() == pytest.approx(0.1)


@pytest.mark.parametrize("seconds", [1e-4, 0.01, 0.1, 0.4, 3.0])
def test_timing_takes_a_second_or_two_and_three_looks_at_least(seconds: float) -> None:
    machine = Machine(seconds)
    assert machine.time() == pytest.approx(seconds)
    assert machine.num_looks >= 5
    assert machine.now <= max(5 * seconds, 1.5 + 3 * seconds)


def test_doctor_takes_threads_and_tells_its_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beholder.recipes.doctor.median_seconds", lambda look: look() and 0.25)
    findings = beholder.doctor("cpu", threads=1)
    assert "1 thread" in findings["device"]
    assert findings["speed"] == "32 images a second at 224 pixels"
