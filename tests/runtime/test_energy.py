from __future__ import annotations

from beholder.runtime.energy import Cost, measured, per_thousand


def test_work_costs_cpu_seconds_and_joules_with_a_source() -> None:
    with measured() as costs:
        total = sum(index * index for index in range(2_000_000))
    assert total > 0
    cost = costs[0]
    assert cost.cpu_seconds > 0.01
    assert cost.joules > 0
    assert "measured" in cost.joules_source or "estimated" in cost.joules_source
    assert cost.peak_memory_bytes > 1_000_000


def test_costs_add_up_and_memory_is_the_larger() -> None:
    total = Cost(1.0, 2.0, 3.0, "a", 10) + Cost(1.0, 1.0, 1.0, "a", 4)
    assert total == Cost(2.0, 3.0, 4.0, "a", 10)


def test_per_thousand_scales_all_but_memory() -> None:
    assert per_thousand(Cost(1.0, 2.0, 3.0, "a", 10), 500) == Cost(2.0, 4.0, 6.0, "a", 10)
