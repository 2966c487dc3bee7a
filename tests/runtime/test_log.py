"""Quantities on the console are said with the unit that fits."""

from __future__ import annotations

import pytest

from beholder.runtime.log import Log, energy


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


def test_a_log_file_hears_of_a_long_stage_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("beholder.runtime.log.time.monotonic", lambda: now)
    with Log().progress("Train", 400, done=40) as advance:
        for step in range(360):
            now += 5.0
            advance(1, f"loss {step}")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Train     60 of 400, about 28 min 20 s left, loss 19"  # 340 steps of 5 s
    assert len(lines) == 17 and all(line.startswith("Train     ") for line in lines)
    with Log().progress("Train", 400) as advance:
        for _ in range(400):
            advance()
    with Log(quiet=True).progress("Train", 2) as advance:
        now += 500.0
        advance()
    assert capsys.readouterr().out == ""  # a short stage says nothing
