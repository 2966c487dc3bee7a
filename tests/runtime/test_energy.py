from __future__ import annotations

import mmap
import resource
import sys
from types import SimpleNamespace

import pytest

from beholder.runtime.energy import Cost, measured, peak_memory_bytes, per_thousand


def test_work_costs_cpu_seconds_and_joules_with_a_source() -> None:
    with measured() as costs:
        total = sum(index * index for index in range(2_000_000))
    assert total > 0
    cost = costs[0]
    assert cost.cpu_seconds > 0.01
    assert cost.joules > 0
    assert "measured" in cost.joules_source or "estimated" in cost.joules_source
    assert cost.peak_memory_bytes > 1_000_000


def hold(num_bytes: int) -> None:
    """Memory of the system's own, which no allocator keeps for later."""
    with mmap.mmap(-1, num_bytes) as pages:
        for place in range(0, num_bytes, mmap.PAGESIZE):
            pages[place] = 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process forget its peak memory")
def test_a_stage_does_not_inherit_the_peak_of_the_one_before_but_holds_those_within() -> None:
    with measured() as before:
        hold(200_000_000)
    with measured() as outer, measured() as middle:
        with measured() as small:
            pass
        with measured() as large:
            hold(100_000_000)
        with measured() as last:
            pass
    peaks = [costs[0].peak_memory_bytes for costs in (before, large, middle, outer)]
    assert peaks[0] > peaks[1] + 80_000_000
    assert peaks[1] > max(small[0].peak_memory_bytes, last[0].peak_memory_bytes) + 80_000_000
    assert peaks[1] <= peaks[2] <= peaks[3] < peaks[0]


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_peak_memory_is_in_bytes_though_linux_counts_kibibytes(
    monkeypatch: pytest.MonkeyPatch, platform: str, unit: int
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=5000))
    assert peak_memory_bytes() == 5000 * unit


def test_costs_add_up_and_memory_is_the_larger() -> None:
    total = Cost(1.0, 2.0, 3.0, "a", 10) + Cost(1.0, 1.0, 1.0, "a", 4)
    assert total == Cost(2.0, 3.0, 4.0, "a", 10)


def test_per_thousand_scales_all_but_memory() -> None:
    assert per_thousand(Cost(1.0, 2.0, 3.0, "a", 10), 500) == Cost(2.0, 4.0, 6.0, "a", 10)
