from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import pytest

from beholder.config import from_json, override, to_json
from beholder.types import UserError


@dataclass(frozen=True)
class Inner:
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = Inner()
    sizes: tuple[int, ...] = (1, 2)
    kind: Literal["a", "b"] = "a"
    limit: int | None = None


def test_from_json_undoes_to_json_through_text() -> None:
    config = Outer("x", Inner(0.5, (0.1, 0.2)), (3, 4, 5), "b", 7)
    assert from_json(Outer, json.loads(json.dumps(to_json(config)))) == config


def test_an_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(UserError, match=r"inner\.lrr is not a setting.*did you mean lr\?"):
        from_json(Outer, {"name": "x", "inner": {"lrr": 1.0}})


def test_a_missing_value_is_named() -> None:
    with pytest.raises(UserError, match="name is missing"):
        from_json(Outer, {})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": 3}, "name=3: expected str"),
        ({"name": "x", "limit": "many"}, "limit='many': expected int"),
        ({"name": "x", "limit": True}, "expected int"),
        ({"name": "x", "kind": "c"}, "choose one of a, b"),
        ({"name": "x", "inner": {"betas": [1.0]}}, "expected a list of 2 values"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(values: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_json(Outer, values)


def test_override_sets_a_value_deep_inside_and_leaves_the_rest() -> None:
    changed = override(Outer("x"), ["inner.lr=0.25", "sizes=[9]", "name=other"])
    assert changed == Outer("other", Inner(0.25), (9,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inner.lrr=1", "did you mean lr"),
        ("nothing=1", "not a setting"),
        ("name", "path=value"),
        ("name.x=1", "not a group"),
    ],
)
def test_a_bad_override_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        override(Outer("x"), [text])
