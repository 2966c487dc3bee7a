"""Quantities on the console are said with the unit that fits."""

from __future__ import annotations

import pytest

from beholder.runtime.log import energy


@pytest.mark.parametrize(
    ("joules", "said"),
    [
        (0.0, "0 J"),
        (3.7, "4 J"),
        (640.2, "640 J"),
        (999.4, "999 J"),
        (999.6, "1.0 kJ"),
        (1234, "1.2 kJ"),
        (23_400, "23 kJ"),
        (1.4e6, "1.4 MJ"),
        (7.2e9, "7.2 GJ"),
    ],
)
def test_energy_is_never_rounded_to_nothing(joules: float, said: str) -> None:
    assert energy(joules) == said
