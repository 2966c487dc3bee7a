"""Truths of the learning rate's course."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.train.schedule import warmup_cosine


@given(num_steps=st.integers(1, 500), share=st.floats(0, 1), floor=st.floats(0, 1))
def test_it_rises_through_the_warm_up_then_never_rises_again(num_steps: int, share: float, floor: float) -> None:
    num_warmup = int(share * num_steps)
    course = [warmup_cosine(step, num_steps, num_warmup, floor) for step in range(num_steps)]
    assert all(0 < value <= 1 for value in course)
    assert max(course) == 1
    peak = max(num_warmup - 1, 0)
    assert course[: peak + 1] == sorted(course[: peak + 1])
    assert course[peak:] == sorted(course[peak:], reverse=True)
    assert min(course[peak:]) >= floor - 1e-12


def test_it_is_one_half_in_the_middle_and_ends_at_the_floor() -> None:
    assert warmup_cosine(60, 110, 10) == pytest.approx(0.5)
    assert warmup_cosine(110, 110, 10, floor=0.1) == pytest.approx(0.1)
