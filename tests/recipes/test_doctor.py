"""The speed that `doctor` tells is that of a usual look: neither the first one nor a disturbed one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from bundles import random_bundle
from processors import PACKS_BF16

import beholder
from beholder.backends.libraries import LIBRARIES
from beholder.cli.main import main
from beholder.recipes import compare_backends
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


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few ways and a small encoder."""
    monkeypatch.setattr(compare_backends, "TRIED", ("plain", "packed", "openvino"))
    monkeypatch.setattr(compare_backends, "_SHAPE", "debug")
    monkeypatch.setattr(compare_backends, "_SIDE", 16)
    monkeypatch.setattr("beholder.recipes.doctor.median_seconds", lambda look: 0.25)
    for precision in ("fp32", "bf16", "int8"):
        monkeypatch.setitem(LIBRARIES, ("openvino", precision), ("no_such_library",))  # type: ignore[misc]


@pytest.mark.usefixtures("small")
def test_every_way_is_measured_or_told_why_not_and_what_auto_takes() -> None:
    findings = beholder.doctor("cpu", threads=1, backends=True)
    assert "random weights" in findings["encoder"]
    for way in ("plain fp32", "packed fp32", "plain bf16", "packed bf16"):
        if way == "packed bf16" and not PACKS_BF16:
            assert "needs the cpu support" in findings[way] and "choose backend='plain'" in findings[way]
            continue
        speed, cosine = re.findall(r"([\d.]+) images a second, cosine to fp32 ([\d.]+)", findings[way])[0]
        assert float(speed) > 0 and float(cosine) == pytest.approx(1.0, abs=1e-3 if "bf16" in way else 1e-6)
    assert "plain int8" not in findings
    assert all("no_such_library" in findings[f"openvino {one}"] for one in ("fp32", "bf16", "int8"))
    assert findings["auto fp32"] in ("takes plain", "takes packed")
    assert findings["auto int8"] == "has nothing to take"


@pytest.mark.usefixtures("small")
def test_a_model_of_ones_own_is_measured_through_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random_bundle().save(tmp_path / "mine")
    assert main(["doctor", "--backends", "--model", str(tmp_path / "mine"), "--device", "cpu", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert str(tmp_path / "mine") in findings["encoder"] and "images a second" in findings["packed bf16"]


def test_a_model_without_backends_is_a_slip_that_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--model", "mine"]) == 2
    assert "--model mine is measured with --backends only" in capsys.readouterr().err
