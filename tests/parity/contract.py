"""What holds for every family that reads from left to right: one function is one truth about a reference and ours."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from parity.reference import randomise, relative_error, save
from torch import Tensor, nn

from beholder.checkpoint.files import load_into, load_tensors
from beholder.checkpoint.rules import read_rules, write_rules
from beholder.pretrained.huggingface.checkpoint import read_checkpoint, read_tensors, write_checkpoint
from beholder.pretrained.huggingface.families import FAMILIES
from beholder.pretrained.huggingface.family import Family
from beholder.trunk.cache import Cache
from beholder.types import UserError

SAME = 1e-5
"""Relative to the largest value; float32."""
NUM_TOKENS = 23
"""More than 16: errors of far positions stay unseen in shorter texts."""
BFLOAT16_ERROR = 0.03
"""What bfloat16 changes in the logits of the middle token, in units of their own root mean square; measured 0.007 to
0.02, as much as it changes the reference."""


@dataclass(frozen=True)
class Pair:
    """A reference of `transformers`, and ours that was read from what it saved."""

    reference: Any
    ours: Any
    config: Any
    kind: str
    folder: Path

    @property
    def family(self) -> Family:
        return FAMILIES[self.kind]

    @property
    def vocabulary_size(self) -> int:
        return self.config.vocabulary_size


def make_pair(reference: Any, folder: Path) -> Pair:
    """All parameters random, saved as users find it, read by us."""
    save(randomise(reference), folder)
    checkpoint = read_checkpoint(folder)
    return Pair(reference, checkpoint.model, checkpoint.config, checkpoint.kind, folder)


def draw_tokens(pair: Pair, num_rows: int = 2, num_tokens: int = NUM_TOKENS, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, pair.vocabulary_size, (num_rows, num_tokens), generator=generator)


@torch.no_grad()
def gives_the_same_logits(pair: Pair) -> None:
    tokens = draw_tokens(pair)
    assert relative_error(pair.ours(tokens), pair.reference(tokens).logits) <= SAME


def gives_the_same_gradients(pair: Pair) -> None:
    """The reference's gradients are saved in the place of its parameters, so that they bear the names of its file.

    What ought to vanish (of a key's bias, where nothing turns the keys) is compared with what other parameters get.
    """
    tokens = draw_tokens(pair)
    weights = torch.randn(*tokens.shape, pair.vocabulary_size, generator=torch.Generator().manual_seed(2))
    theirs = deepcopy(pair.reference)
    (theirs(tokens).logits * weights).sum().backward()
    with torch.no_grad():
        for value in theirs.parameters():
            assert value.grad is not None
            value.copy_(value.grad)
    wanted = load_tensors(save(theirs, pair.folder / "gradients") / "model.safetensors")
    ours = deepcopy(pair.ours).requires_grad_(True)
    (ours(tokens) * weights).sum().backward()
    gradients = {name: value.grad for name, value in ours.named_parameters()}
    found = write_rules(gradients, pair.family.rules(pair.config))
    assert found.keys() == wanted.keys()
    peaks = {name: float(value.abs().max()) for name, value in wanted.items()}
    least = 1e-2 * sorted(peaks.values())[len(peaks) // 2]
    errors = {name: float((found[name] - wanted[name]).abs().max()) / max(peaks[name], least) for name in wanted}
    assert max(errors.values()) <= 1e-4, max(errors.items(), key=lambda item: item[1])


@torch.no_grad()
def cached_reading_is_reading(pair: Pair) -> None:
    """A first chunk and then token by token, or chunk by chunk, with and without padding on the left."""
    tokens = draw_tokens(pair)
    is_real = torch.ones_like(tokens, dtype=torch.bool)
    is_real[1, :4] = False
    for real in (None, is_real):
        wanted = pair.ours(tokens, is_real=real)
        for sizes in ([10] + [1] * (NUM_TOKENS - 10), [7, 9, 7], [1] * NUM_TOKENS):
            cache, found = Cache(NUM_TOKENS), []
            for part in tokens.split(sizes, dim=1):
                seen = None if real is None else real[:, : cache.length + part.shape[1]]
                found.append(pair.ours(part, is_real=seen, cache=cache))
            assert relative_error(torch.cat(found, dim=1)[is_real], wanted[is_real]) <= SAME, sizes


@torch.no_grad()
def padding_changes_nothing(pair: Pair) -> None:
    """On either side, and what stands in its place does not matter."""
    lengths = (NUM_TOKENS, 17, 5)
    for side in ("left", "right"):
        tokens = draw_tokens(pair, len(lengths))
        is_real = torch.zeros_like(tokens, dtype=torch.bool)
        for row, length in enumerate(lengths):
            is_real[row, NUM_TOKENS - length :] = side == "left"
            is_real[row, :length] |= side == "right"
        found = pair.ours(tokens, is_real=is_real)
        for row in range(len(lengths)):
            alone = pair.ours(tokens[row][is_real[row]][None])
            assert relative_error(found[row][is_real[row]][None], alone) <= SAME, (side, row)


@torch.no_grad()
def packed_texts_do_not_see_each_other(pair: Pair) -> None:
    tokens = draw_tokens(pair)
    lengths = ((5, 11, 7), (17, 1, 5))
    rows = torch.tensor([[number for number, size in enumerate(row) for _ in range(size)] for row in lengths])
    found = pair.ours(tokens, rows=rows)
    for row, sizes in enumerate(lengths):
        alone = [pair.ours(part[None])[0] for part in tokens[row].split(sizes)]
        assert relative_error(found[row], torch.cat(alone)) <= SAME


@torch.no_grad()
def the_future_does_not_change_the_past(pair: Pair) -> None:
    tokens = draw_tokens(pair)
    changed, place = tokens.clone(), 14
    changed[:, place:] = tokens[:, place:].flip(1)
    changed[:, place] = (tokens[:, place] + 1) % pair.vocabulary_size
    before, after = pair.ours(tokens), pair.ours(changed)
    assert relative_error(after[:, :place], before[:, :place]) <= 1e-6
    assert relative_error(after[:, place:], before[:, place:]) > 1e-2


@torch.no_grad()
def bfloat16_is_near(pair: Pair) -> None:
    """Of the middle token, since single ones may be sent to other experts by a hair's breadth."""
    tokens = draw_tokens(pair)
    exact, rough = pair.ours(tokens), deepcopy(pair.ours).bfloat16()(tokens).float()
    errors = (rough - exact).square().mean(-1).sqrt() / exact.square().mean(-1).sqrt()
    assert 0 < float(errors.median()) <= BFLOAT16_ERROR


def every_tensor_is_used_and_written(pair: Pair) -> None:
    source, tensors = read_tensors(pair.folder)
    rules = pair.family.rules(pair.config)
    named = [name for rule in rules for name in rule.theirs]
    assert len(named) == len(set(named)) and set(named) == tensors.keys()
    model = pair.family.build(pair.config)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.fill_(torch.nan)
    load_into(model, read_rules(tensors, rules, ignored=pair.family.ignored, source=source), source)
    assert not [name for name, value in model.state_dict().items() if value.isnan().any()]
    for name in tensors:
        rest = {other: value for other, value in tensors.items() if other != name}
        with pytest.raises(UserError, match="lacks"):
            read_rules(rest, rules, ignored=pair.family.ignored, source=source)
    with pytest.raises(UserError, match="has unknown"):
        more = {**tensors, "another.weight": torch.zeros(1)}
        read_rules(more, rules, ignored=pair.family.ignored, source=source)


def norms_have_the_same_eps(pair: Pair) -> None:
    """As values: outputs hardly show them."""
    assert different_eps(pair, pair.ours) == []


def different_eps(pair: Pair, model: nn.Module) -> list[str]:
    """Norms of `model`, by our names, whose eps is not the reference's."""
    ours, theirs = dict(model.named_modules()), dict(pair.reference.named_modules())
    norms = {name for name, module in ours.items() if isinstance(module, nn.LayerNorm | nn.RMSNorm)}
    found = {}
    for rule in pair.family.rules(pair.config):
        name = rule.ours[0].removesuffix(".weight")
        if name in norms and rule.ours[0].endswith(".weight"):
            norm = theirs[rule.theirs[0].removesuffix(".weight")]
            found[name] = norm.eps if hasattr(norm, "eps") else norm.variance_epsilon
    assert found.keys() == norms
    return sorted(name for name, eps in found.items() if ours[name].eps != eps)


@torch.no_grad()
def opens_again_in_transformers(pair: Pair) -> None:
    """The same logits to the last bit, and the same switches."""
    from transformers import AutoModelForCausalLM

    folder = pair.folder / "written"
    write_checkpoint(folder, pair.kind, pair.ours, pair.config)
    again = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert type(again) is type(pair.reference)
    tokens = draw_tokens(pair)
    assert torch.equal(again(tokens).logits, pair.reference(tokens).logits)
    assert pair.family.write(read_checkpoint(folder).config) == pair.family.write(pair.config)


def shards_are_one_checkpoint(pair: Pair) -> None:
    folder = pair.folder / "shards"
    pair.reference.save_pretrained(folder, max_shard_size="60KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    found, wanted = read_checkpoint(folder).model.state_dict(), pair.ours.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


TRUTHS: tuple[Callable[[Pair], None], ...] = (
    gives_the_same_logits,
    gives_the_same_gradients,
    cached_reading_is_reading,
    padding_changes_nothing,
    packed_texts_do_not_see_each_other,
    the_future_does_not_change_the_past,
    bfloat16_is_near,
    every_tensor_is_used_and_written,
    norms_have_the_same_eps,
    opens_again_in_transformers,
    shards_are_one_checkpoint,
)
