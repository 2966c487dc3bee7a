"""Every switch of a language model turned by itself: a comparison that misses one of them proves little."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from parity.contract import SAME, Pair, different_eps, draw_tokens
from parity.reference import relative_error
from torch import Tensor

from beholder.models.gpt import GPTConfig
from beholder.pretrained.huggingface.checkpoint import fill, read_tensors
from beholder.trunk.attention import AttentionConfig, SelfAttention
from beholder.trunk.experts import ExpertsConfig
from beholder.trunk.mlp import Activation
from beholder.trunk.norm import NormConfig
from beholder.trunk.position import RotaryConfig
from beholder.types import UserError

_OTHER_ACTIVATION: dict[str, Activation] = {
    "gelu": "gelu_tanh",
    "gelu_tanh": "gelu",
    "relu": "gelu",
    "silu": "quick_gelu",
}


@dataclass(frozen=True)
class Flip:
    """One switch that stands otherwise than it should."""

    name: str
    config: GPTConfig
    lost: str | None = None
    """Ending of the names of parameters that are zero instead of what was read."""
    shows_in: Literal["logits", "eps"] = "logits"
    """Where it is looked for, once the tensors have been loaded."""


@dataclass(frozen=True)
class Verdict:
    """What became of all switches of one family."""

    refused: tuple[str, ...]
    """The tensors did not fit."""
    seen: tuple[str, ...]
    """They fitted, and the comparison saw it."""
    missed: tuple[str, ...]


def judge(pair: Pair) -> Verdict:
    """Turn every switch that applies."""
    found: dict[str, list[str]] = {"refused": [], "seen": [], "missed": []}
    tokens = draw_tokens(pair)
    with torch.no_grad():
        logits = pair.reference(tokens).logits
    for flip in flips(pair.config):
        found[_try(pair, flip, tokens, logits)].append(flip.name)
    return Verdict(tuple(found["refused"]), tuple(found["seen"]), tuple(found["missed"]))


@torch.no_grad()
def _try(pair: Pair, flip: Flip, tokens: Tensor, logits: Tensor) -> str:
    source, tensors = read_tensors(pair.folder)
    with torch.device("meta"):
        model = pair.family.build(flip.config).eval()
    try:
        fill(model, pair.family, flip.config, tensors, source)
    except UserError:
        return "refused"
    if flip.lost is not None:
        for name, value in model.named_parameters():
            if name.endswith(flip.lost):
                value.zero_()
    if flip.shows_in == "eps":
        return "seen" if different_eps(pair, model) else "missed"
    is_seen = relative_error(model(tokens), logits) > SAME
    return "seen" if is_seen else "missed"


def flips(config: GPTConfig) -> Iterator[Flip]:
    """Every switch that can stand otherwise."""
    for name, attention in _attentions(config):
        yield Flip(name, _with_trunk(config, attention=attention))
    for name, values in _trunks(config):
        yield Flip(name, _with_trunk(config, **values))
    yield from _norms(config)
    yield from _embeddings(config)
    for name in config.trunk.attention.biases:
        yield Flip(f"{name} bias is zero", config, lost="body.out.bias" if name == "out" else f"{name}_bias")


def known_invisible(config: GPTConfig) -> tuple[str, ...]:
    """A key's bias adds the same to all scores of a query, unless something makes keys depend on their place."""
    attention = config.trunk.attention
    is_plain = config.trunk.rotary is None and attention.qk_norm is None
    return ("key bias is zero",) if is_plain and "key" in attention.biases else ()


def _with_trunk(config: GPTConfig, **values: Any) -> GPTConfig:
    return replace(config, trunk=replace(config.trunk, **values))


def _attentions(config: GPTConfig) -> Iterator[tuple[str, AttentionConfig]]:
    attention, width = config.trunk.attention, config.trunk.width
    with torch.device("meta"):
        built = SelfAttention(attention, width)
    num_keys, head_width = built.num_key_heads, built.head_width
    shared = math.gcd(attention.num_heads, num_keys)
    ratio = next(factor for factor in range(2, shared + 1) if shared % factor == 0)
    fewer = replace(
        attention, num_heads=attention.num_heads // ratio, num_key_heads=num_keys // ratio,
        head_width=head_width * ratio,
    )  # fmt: skip
    yield "fewer and wider heads", fewer
    other = num_keys // ratio if num_keys == attention.num_heads else attention.num_heads
    yield "key heads", replace(attention, num_key_heads=other)
    yield "scale", replace(attention, scale=1.0)
    for name in ("query", "key", "value", "out"):
        rest = tuple(one for one in ("query", "key", "value", "out") if (one in attention.biases) != (one == name))
        yield f"{name} bias", replace(attention, biases=rest)
    if attention.qk_norm is None:
        yield "query and key norm", replace(attention, qk_norm=NormConfig("rms"))
    else:
        yield "query and key norm", replace(attention, qk_norm=None)
        yield "norm after turning", replace(attention, is_normed_after_turning=not attention.is_normed_after_turning)


def _trunks(config: GPTConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    trunk, mlp, rotary = config.trunk, config.trunk.mlp, config.trunk.rotary
    for place in sorted({"pre", "post", "parallel"} - {trunk.norm_at}):
        yield f"norm at {place}", {"norm_at": place}
    yield "final norm", {"has_final_norm": not trunk.has_final_norm}
    yield "activation", {"mlp": replace(mlp, activation=_OTHER_ACTIVATION[mlp.activation])}
    yield "gated", {"mlp": replace(mlp, is_gated=not mlp.is_gated)}
    if trunk.experts is None:
        yield "feed-forward bias", {"mlp": replace(mlp, has_bias=not mlp.has_bias)}
    yield "causal", {"mask": replace(trunk.mask, is_causal=not trunk.mask.is_causal)}
    yield "window", {"mask": replace(trunk.mask, window=None if trunk.mask.window else 7)}
    yield "penalty for distance", {"distance": None if trunk.distance else "alibi"}
    yield "layer scale", {"layer_scale": 1.0}
    yield "rotary", {"rotary": None if rotary else RotaryConfig()}
    if rotary is not None:
        yield "rotary theta", {"rotary": replace(rotary, theta=2 * rotary.theta)}
        yield "rotary fraction", {"rotary": replace(rotary, fraction=0.5 if rotary.fraction == 1 else 1.0)}
        yield "rotary layout", {"rotary": replace(rotary, layout="pairs" if rotary.layout == "halves" else "halves")}
    experts = trunk.experts
    if experts is None:
        yield "experts", {"experts": ExpertsConfig(), "mlp": replace(mlp, has_bias=False)}
    else:
        yield "experts", {"experts": None}
        yield "number of experts", {"experts": replace(experts, num_experts=experts.num_experts - 1)}
        yield "fewer experts chosen", {"experts": replace(experts, num_chosen=experts.num_chosen - 1)}
        yield "more experts chosen", {"experts": replace(experts, num_chosen=experts.num_chosen + 1)}
        yield "shares of experts", {"experts": replace(experts, is_renormalised=not experts.is_renormalised)}


def _norms(config: GPTConfig) -> Iterator[Flip]:
    """Kind, eps by a large step, eps as a value; of each norm apart."""
    attention = config.trunk.attention

    def put(name: str, norm: NormConfig) -> GPTConfig:
        if name == "embedding":
            return replace(config, embedding_norm=norm)
        if name == "query and key":
            return _with_trunk(config, attention=replace(attention, qk_norm=norm))
        return _with_trunk(config, norm=norm)

    norms = {"trunk": config.trunk.norm, "embedding": config.embedding_norm, "query and key": attention.qk_norm}
    for name, norm in norms.items():
        if norm is not None:
            yield Flip(f"kind of {name} norm", put(name, replace(norm, kind="layer" if norm.kind == "rms" else "rms")))
            yield Flip(f"eps of {name} norm", put(name, replace(norm, eps=1000 * norm.eps)))
            yield Flip(f"eps of {name} norm, as value", put(name, replace(norm, eps=norm.eps / 10)), None, "eps")


def _embeddings(config: GPTConfig) -> Iterator[Flip]:
    yield Flip("tied", replace(config, is_tied=not config.is_tied))
    yield Flip("embedding norm", replace(config, embedding_norm=None if config.embedding_norm else NormConfig()))
    yield Flip("table of positions", replace(config, num_positions=None if config.num_positions else 64))
    if config.num_positions is not None:  # the table has as many rows as before
        step = -1 if config.position_offset else 1
        moved = replace(
            config, position_offset=config.position_offset + step, num_positions=config.num_positions - step
        )
        yield Flip("position offset", moved)
