from __future__ import annotations

import pytest

from beholder.recipes.budget import Budget, parse_budget
from beholder.types import UserError


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("0", Budget(seconds=0.0)),
        ("90s", Budget(seconds=90.0)),
        ("5m", Budget(seconds=300.0)),
        ("1.5h", Budget(seconds=5400.0)),
        ("400 steps", Budget(steps=400)),
    ],
)
def test_budgets_are_read(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "5", "fast", "-3m", "5 days"])
def test_other_budgets_are_refused_with_examples(text: str) -> None:
    with pytest.raises(UserError, match="such as 90s, 5m or 2h"):
        parse_budget(text)
