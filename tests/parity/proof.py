"""What it means that a foreign family is proven: each function states one truth of a checkpoint and its reference."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from parity.reference import relative_error
from torch import Tensor, nn

from beholder.checkpoint.rules import write_rules
from beholder.pretrained.huggingface.checkpoint import Checkpoint, fill, read_tensors, write_checkpoint
from beholder.pretrained.huggingface.families import FAMILIES
from beholder.types import UserError

Outputs = Mapping[str, Tensor]
"""What a model says, by name."""
SEEN = 1e-5
"""Relative error of outputs, fp32, beyond which two models are not the same."""


def assert_same_outputs(ours: Outputs, theirs: Outputs, bound: float = SEEN) -> None:
    """Largest difference of each output, in units of its largest value."""
    assert ours.keys() == theirs.keys()
    errors = {name: relative_error(ours[name].float(), theirs[name].float()) for name in theirs}
    assert max(errors.values()) <= bound, errors


def assert_bfloat16_costs_as_little(
    found: Checkpoint,
    reference: nn.Module,
    say: tuple[Callable[[Any], Outputs], Callable[[Any], Outputs]],
    bound: float,
) -> None:
    """What bfloat16 loses, root mean square in units of the outputs', is at most `bound`, and not more than 1.3 times
    what the reference loses. `say` are the outputs of ours and of theirs."""
    lost = []
    for model, one in zip((found.model, reference), say, strict=True):
        exact, narrow = one(model), one(copy.deepcopy(model).to(torch.bfloat16))
        lost.append({name: float((narrow[name].float() - exact[name]).norm() / exact[name].norm()) for name in exact})
    assert all(value <= min(bound, 1.3 * lost[1][name]) for name, value in lost[0].items()), lost


def assert_same_gradients(found: Checkpoint, reference: nn.Module, ours: Outputs, theirs: Outputs) -> None:
    """Of a random projection of all outputs, for every parameter, ours written as theirs.

    The error is relative to the parameter's largest gradient, or to a thousandth of the largest of all where that is
    more: some gradients, such as those of a key's bias, are zero but for rounding.
    """
    for model, outputs in ((found.model, ours), (reference, theirs)):
        model.zero_grad()
        generator = torch.Generator().manual_seed(7)
        weights = {name: torch.randn(outputs[name].shape, generator=generator) for name in sorted(outputs)}
        torch.stack([(outputs[name] * weight).sum() for name, weight in weights.items()]).sum().backward()
    family = FAMILIES[found.kind]
    learned = dict(found.model.named_parameters())
    given = {name: learned[name].grad if name in learned else None for name in found.model.state_dict()}
    values = found.model.state_dict()
    written = write_rules(
        {name: torch.zeros_like(values[name]) if grad is None else grad for name, grad in given.items()},
        family.rules(found.config),
    )
    expected = dict(reference.named_parameters())
    names = {name: name if name in written else family.prefix + name for name in expected}
    assert set(names.values()) == written.keys()
    largest = max(float(value.grad.abs().max()) for value in expected.values() if value.grad is not None)
    for name, value in expected.items():
        grad = torch.zeros_like(value) if value.grad is None else value.grad
        scale = max(float(grad.abs().max()), 1e-3 * largest)
        error = float((written[names[name]] - grad).abs().max()) / scale
        assert error <= 1e-4, (name, error)


def assert_every_tensor_counts(found: Checkpoint, folder: Path) -> None:
    """Every target is written over NaN; a source tensor that is missing, and one too many, are refused by name."""
    family = FAMILIES[found.kind]
    source, tensors = read_tensors(folder)
    model = family.build(found.config)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.fill_(torch.nan)
    fill(model, family, found.config, tensors, source)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    for name in (min(tensors), max(tensors)):
        less = {other: value for other, value in tensors.items() if other != name}
        with pytest.raises(UserError, match="lacks"):
            fill(family.build(found.config), family, found.config, less, source)
    with pytest.raises(UserError, match=r"has unknown .*stray\.weight"):
        fill(model, family, found.config, {**tensors, "stray.weight": torch.zeros(1)}, source)


def assert_same_eps(found: Checkpoint, reference: nn.Module) -> None:
    """Outputs can hardly show an eps: it is compared as a value, norm by norm."""
    family, theirs = FAMILIES[found.kind], dict(reference.named_modules())
    num_norms = 0
    for rule in family.rules(found.config):
        place, _, part = rule.ours[0].rpartition(".")
        module = found.model.get_submodule(place)
        if part == "weight" and hasattr(module, "eps"):
            name = rule.theirs[0].removesuffix(".weight")
            norm = theirs.get(name) or theirs[name.removeprefix(family.prefix)]
            expected = norm.eps if isinstance(norm, nn.LayerNorm) else norm.variance_epsilon
            assert module.eps == expected, (place, module.eps, expected)
            num_norms += 1
    assert num_norms == sum(hasattr(module, "eps") for module in found.model.modules())


def assert_opens_in_transformers(
    found: Checkpoint, kind: type[Any], folder: Path, say: Callable[[Any], Outputs], expected: Outputs
) -> None:
    """Written back, nothing is missing, nothing is left over, and every output is the same bit for bit."""
    write_checkpoint(folder, found.kind, found.model, found.config)
    again, told = kind.from_pretrained(folder, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"] and not told["mismatched_keys"], told
    with torch.no_grad():
        outputs = say(again.eval())
    for name, value in expected.items():
        assert torch.equal(outputs[name], value), name


def missed(
    found: Checkpoint, folder: Path, flips: Mapping[str, Any], say: Callable[[Any], Outputs], expected: Outputs
) -> list[str]:
    """Which of these wrong configurations nobody would notice: they load, and the outputs stay as they were."""
    family = FAMILIES[found.kind]
    source, tensors = read_tensors(folder)
    quiet = []
    for name, config in flips.items():
        assert config != found.config, f"{name} is no change"
        model = family.build(config)
        try:
            fill(model, family, config, tensors, source)
        except UserError:
            continue
        with torch.no_grad():
            outputs = say(model.eval())
        if max(relative_error(outputs[one], value) for one, value in expected.items()) <= SEEN:
            quiet.append(name)
    return quiet


def changed(config: Any, path: str, value: Any) -> Any:
    """The frozen configuration with the field at a dotted path set anew."""
    name, _, rest = path.partition(".")
    assert is_dataclass(config) and name in {field.name for field in fields(config)}, (path, config)
    return replace(config, **{name: changed(getattr(config, name), rest, value) if rest else value})  # type: ignore[type-var]
