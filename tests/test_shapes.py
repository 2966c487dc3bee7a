"""The checks of annotations that all tests lean on: they find what is wrong, in the first calls of every test."""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float, TypeCheckError, jaxtyped
from shapes import NUM_CHECKED, begin_test, checked
from torch import Tensor

from beholder.metrics.classification import auc


@jaxtyped(typechecker=checked)
def doubled(rows: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
    return torch.cat([rows, rows]) if len(rows) == 3 else 2 * rows


def test_a_wrong_shape_is_found_going_in_and_coming_out() -> None:
    with pytest.raises(TypeCheckError, match="parameters"):
        doubled(torch.ones(1, 5))
    with pytest.raises(TypeCheckError, match="return value"):
        doubled(torch.ones(3, 2))
    assert doubled(torch.ones(2, 2)).sum() == 8


@pytest.fixture(scope="module")
def shared() -> bool:
    """Whether a wrong shape is found where several tests share what is made."""
    with pytest.raises(TypeCheckError):
        doubled(torch.ones(1, 5))
    return True


@pytest.fixture
def _worn() -> None:
    for _ in range(NUM_CHECKED):
        doubled(torch.ones(1, 2))


@pytest.mark.usefixtures("_worn")
def test_what_tests_share_is_checked_too(request: pytest.FixtureRequest) -> None:
    doubled(torch.ones(1, 5))  # no longer
    assert request.getfixturevalue("shared")


def test_only_the_first_calls_of_a_test_are_checked() -> None:
    for _ in range(NUM_CHECKED):
        doubled(torch.ones(1, 2))
    assert doubled(torch.ones(1, 5)).shape == (1, 5)
    begin_test()
    with pytest.raises(TypeCheckError):
        doubled(torch.ones(1, 5))


class Row:
    """What a package has beside functions."""

    @property
    @jaxtyped(typechecker=checked)
    def width(self) -> int:
        return 2

    @staticmethod
    @jaxtyped(typechecker=checked)
    def of(count: int) -> int:
        return count

    @torch.no_grad()
    @jaxtyped(typechecker=checked)
    def grown(self, count: int) -> int:
        return count + 2


CALLS: dict[str, Any] = {
    "function": (doubled, torch.ones(1, 2)),
    "property": (vars(Row)["width"].fget, Row()),
    "static": (Row.of, 1),
    "decorated again": (Row.grown, Row(), 1),
}


@pytest.mark.parametrize("how", CALLS)
def test_later_calls_are_passed_on_until_the_next_test_begins(how: str) -> None:
    """jaxtyping reads the mark at every call."""
    function, *values = CALLS[how]
    for _ in range(NUM_CHECKED):
        function(*values)
    assert not hasattr(unwrap(function), "__no_type_check__")
    function(*values)
    assert unwrap(function).__no_type_check__
    begin_test()
    assert not hasattr(unwrap(function), "__no_type_check__")


def test_the_package_is_checked() -> None:
    with pytest.raises(TypeCheckError):
        auc(np.ones((3, 2)), np.ones(4, int), np.ones((1, 3)))
