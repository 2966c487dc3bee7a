"""Configuration: frozen dataclasses to plain JSON values and back, and typed `--set path=value` overrides.

An unknown key is refused with the nearest known one, so that a misspelt setting never passes silently.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from beholder.types import UserError

Config = TypeVar("Config")


def to_json(config: Any) -> Any:
    """The configuration as JSON values: dataclasses become objects, tuples become lists."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: to_json(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {str(key): to_json(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [to_json(value) for value in config]
    return config


def from_json(cls: type[Config], values: Any, where: str = "") -> Config:
    """Build `cls` from JSON values; a missing key takes the field's default, an unknown one is refused."""
    if not isinstance(values, Mapping):
        raise UserError(f"{where.removesuffix('.') or cls.__name__}={values!r}: expected a group of settings.")
    known = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise UserError(f"{where}{key} is not a setting of {cls.__name__}; {_suggest(key, known)}.")
    hints = typing.get_type_hints(cls)
    built = {key: _convert(hints[key], value, f"{where}{key}") for key, value in values.items()}
    for name, field in known.items():
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if name not in built and not has_default:
            raise UserError(f"{where}{name} is missing; {cls.__name__} needs it.")
    return cls(**built)


def override(config: Config, assignments: Sequence[str]) -> Config:
    """Apply `path=value` texts, such as `optimizer.lr=0.001`; values are read as JSON, else as text."""
    values = to_json(config)
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator:
            raise UserError(f"--set {assignment}: expected path=value, such as seed=3.")
        *parents, last = path.split(".")
        node = values
        for name in parents:
            if not isinstance(node.get(name), dict):
                raise UserError(f"--set {path}: {name} is not a group of settings; {_suggest(name, node)}.")
            node = node[name]
        if last not in node:
            raise UserError(f"--set {path}: {last} is not a setting; {_suggest(last, node)}.")
        try:
            node[last] = json.loads(text)
        except json.JSONDecodeError:
            node[last] = text
    return from_json(type(config), values)


def _suggest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise UserError(f"{where}={value!r}: choose one of {', '.join(map(str, arguments))}.")
        return value
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type, hint), value, f"{where}.")
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{where}={value!r}: expected a list.")
        items = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(items) != len(value):
            raise UserError(f"{where}={value!r}: expected a list of {len(items)} values.")
        return tuple(_convert(item, part, where) for item, part in zip(items, value, strict=True))
    if origin is not None:  # mappings and lists of plain values
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise UserError(f"{where}={value!r}: expected {hint.__name__}.")
    return value


def _convert_union(arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    refusal: UserError | None = None
    for candidate in arguments:
        if candidate is type(None):
            continue
        try:
            return _convert(candidate, value, where)
        except UserError as error:
            refusal = error
    assert refusal is not None
    raise refusal
