"""What it takes to know a foreign family: its configuration as ours and back, and its names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from beholder.checkpoint.rename import Table
from beholder.checkpoint.rules import HeadByHead, Joined, Parted, Rule, Then, layer, same
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.mlp import Activation
from beholder.trunk.position import RotaryConfig
from beholder.types import UserError

Values = Mapping[str, Any]
"""A config.json."""


@dataclass(frozen=True)
class Family:
    """One `model_type` of a config.json."""

    read: Callable[[Values], Any]
    """Theirs to our configuration. Raises UserError for a switch that ours does not have."""
    write: Callable[[Any], dict[str, Any]]
    """Ours to theirs."""
    build: Callable[[Any], nn.Module]
    rules: Callable[[Any], list[Rule]]
    ignored: tuple[str, ...] = ()
    """Patterns of tensors that hold nothing learned."""
    prefix: str = ""
    """What names of a model with a head begin with; a checkpoint of the bare model leaves it out."""
    head: tuple[str, ...] = ()
    """Names, ours, that only a model with a head has: where a bare checkpoint lacks them, they stay fresh."""
    older: Table = ()
    """Older spellings of their names, put right before the rules are applied."""
    settle: Callable[[Any, Mapping[str, Tensor]], Any] | None = None
    """Our configuration, put right by what lies in the file: optional heads that config.json does not tell of. Raises
    UserError where two tensors that must be one differ."""
    told_apart: tuple[str, ...] = ()
    """Values that generation_config.json tells too, and where it does, rightly."""


ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


def activation(values: Values, key: str, default: str) -> Activation:
    """The activation that a configuration names. Raises UserError for one that the trunk does not have."""
    name = values.get(key, default)
    if name not in ACTIVATIONS:
        raise UserError(f"config.json asks for {key}={name!r}; known are {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


def activation_name(ours: Activation) -> str:
    """The same as a config.json has it."""
    return {"gelu_tanh": "gelu_pytorch_tanh"}.get(ours, ours)


def refuse(values: Values, **usual: Any) -> None:
    """Raise UserError where a switch stands otherwise than the one way that is known here."""
    for key, expected in usual.items():
        if values.get(key, expected) != expected:
            raise UserError(
                f"config.json asks for {key}={values[key]!r}, which is not supported; only {expected!r} is."
            )


def rotary(values: Values, *, theta: float = 10_000.0, fraction: float = 1.0) -> RotaryConfig:
    """Rotary positions, from `rope_parameters` or the older single keys. Raises UserError for stretched ones."""
    told = values.get("rope_parameters") or values.get("rope_scaling") or {}
    kind = told.get("rope_type", told.get("type", "default"))
    if kind != "default":
        raise UserError(f"config.json asks for rope_type={kind!r}, which is not supported; only 'default' is.")
    theta = told.get("rope_theta", values.get("rope_theta", theta))
    return RotaryConfig(float(theta), float(told.get("partial_rotary_factor", fraction)))


def rotary_values(config: RotaryConfig) -> dict[str, Any]:
    """The same as a config.json has it."""
    told: dict[str, Any] = {"rope_type": "default", "rope_theta": config.theta}
    if config.fraction != 1.0:
        told["partial_rotary_factor"] = config.fraction
    return {"rope_parameters": told}


def check_copies(tensors: Mapping[str, Tensor], copies: Mapping[str, str]) -> None:
    """Raise UserError where a tensor that is left out, because it is another one again, is not that one."""
    for copy, original in copies.items():
        if copy in tensors and original in tensors and not torch.equal(tensors[copy], tensors[original]):
            raise UserError(
                f"The checkpoint's {copy} is not its {original}, which this family has twice; "
                "load it with transformers and save it again, or tell which of the two is meant."
            )


def tied_head(head: str, table: str) -> Callable[[Any, Mapping[str, Tensor]], Any]:
    """To settle a language model whose head is its table of tokens, by their names for both: a file may hold it twice,
    and then both must be one."""

    def settle(config: Any, tensors: Mapping[str, Tensor]) -> Any:
        if config.is_tied:
            check_copies(tensors, {head: table})
        return config

    return settle


def head_sizes(attention: AttentionConfig, width: int) -> tuple[int, int, int]:
    """Rows of the joint matrix that are query, key and value."""
    head_width = attention.head_width or width // attention.num_heads
    inner, narrow = attention.num_heads * head_width, (attention.num_key_heads or attention.num_heads) * head_width
    return inner, narrow, narrow


def self_attention(
    ours: str, theirs: str, attention: AttentionConfig, width: int, names: tuple[str, str, str, str]
) -> list[Rule]:
    """A self-attention whose foreign side has four linear maps: query, key, value, out."""
    query, key, value, out = (f"{theirs}.{name}" for name in names)
    joint = Joined(head_sizes(attention, width))
    rules = [Rule((f"{ours}.qkv.weight",), tuple(f"{one}.weight" for one in (query, key, value)), joint)]
    rules += _biases(ours, attention, {"query": query, "key": key, "value": value})
    return rules + layer(f"{ours}.out", out, has_bias="out" in attention.biases)


def cross_attention(
    ours: str, theirs: str, attention: AttentionConfig, width: int, names: tuple[str, str, str, str]
) -> list[Rule]:
    """A cross-attention whose foreign side has four linear maps: query, key, value, out."""
    query, key, value, out = (f"{theirs}.{name}" for name in names)
    joint = Joined(head_sizes(attention, width)[1:])
    rules = [
        same(f"{ours}.query.weight", f"{query}.weight"),
        Rule((f"{ours}.key_value.weight",), (f"{key}.weight", f"{value}.weight"), joint),
    ]
    rules += _biases(ours, attention, {"query": query, "key": key, "value": value})
    return rules + layer(f"{ours}.out", out, has_bias="out" in attention.biases)


def joint_biases(ours: str, theirs: str, sizes: tuple[int, int, int]) -> Rule:
    """Three biases of ours that are one vector of theirs."""
    return Rule(tuple(f"{ours}.{name}_bias" for name in ("query", "key", "value")), (theirs,), Parted(sizes))


def head_by_head(ours: str, theirs: str, attention: AttentionConfig, width: int) -> list[Rule]:
    """A self-attention whose foreign side has query, key and value of each head side by side in one linear map."""
    turn = HeadByHead(attention.num_heads)
    rules = [same(f"{ours}.qkv.weight", f"{theirs}.query_key_value.weight", turn)]
    if attention.biases:
        names = tuple(f"{ours}.{name}_bias" for name in ("query", "key", "value"))
        parted = Then(turn, Parted(head_sizes(attention, width)))
        rules.append(Rule(names, (f"{theirs}.query_key_value.bias",), parted))
    return rules + layer(f"{ours}.out", f"{theirs}.dense", has_bias="out" in attention.biases)


def _biases(ours: str, attention: AttentionConfig, theirs: Mapping[str, str]) -> list[Rule]:
    return [same(f"{ours}.{name}_bias", f"{place}.bias") for name, place in theirs.items() if name in attention.biases]
