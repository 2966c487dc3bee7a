"""Truths of ways to run a model: each gives the model's own outputs within its bound, or says why it cannot."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from processors import PACKS_BF16, needs_exact_bytes, needs_packed_bf16
from torch import Tensor, nn

from beholder.backends import choose as choosing
from beholder.backends.choose import BOUNDS, Backend, Precision, choose, prepare
from beholder.backends.libraries import LIBRARIES
from beholder.backends.outputs import distance, flatten, rebuild
from beholder.models.clip import PRESETS as CLIPS
from beholder.models.clip import ImageTower
from beholder.models.vit import PRESETS, ViT
from beholder.types import Outputs, UserError

NEEDS = {"onnxruntime": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}
WAYS: list[tuple[Backend, Precision]] = [
    ("plain", "fp32"), ("plain", "bf16"), ("packed", "fp32"),
    pytest.param("packed", "bf16", marks=needs_packed_bf16),
    pytest.param("onnxruntime", "fp32", marks=pytest.mark.slow), ("openvino", "fp32"), ("openvino", "bf16"),
    pytest.param("openvino", "int8", marks=[pytest.mark.slow, needs_exact_bytes]),
]  # fmt: skip


def loud(build: Callable[[], nn.Module]) -> nn.Module:
    """No parameter keeps a zero or a one that would hide an error."""
    torch.manual_seed(0)
    model = build()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return model


def vit() -> nn.Module:
    return loud(lambda: ViT(PRESETS["debug"]))


def quick() -> nn.Module:
    return loud(lambda: ImageTower(CLIPS["debug"].image))


def images(count: int = 5, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.filterwarnings("ignore")  # of the libraries about each other
@pytest.mark.parametrize(("backend", "precision"), WAYS)
def test_every_way_gives_the_models_own_outputs_for_any_number_of_images(
    backend: Backend, precision: Precision
) -> None:
    for library in NEEDS.get(backend, ()):
        pytest.importorskip(library)
    model, others = vit(), images(3, seed=2)
    prepared = prepare(model, images(24 if precision == "int8" else 5), backend, precision)
    assert prepared.loss <= BOUNDS[precision]
    found = prepared(others)
    with torch.no_grad():
        expected = model.eval()(others)
    assert isinstance(found, Outputs) and all(tensor.dtype == torch.float32 for tensor in flatten(found))
    assert distance(flatten(found), flatten(expected)) <= 2 * BOUNDS[precision]
    if precision == "fp32":
        torch.testing.assert_close(flatten(found), flatten(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_packed_bf16)])
def test_packing_knows_quick_gelu(precision: Precision) -> None:
    """Where the factor 1.702 lies in the weights."""
    assert prepare(quick(), images(), "packed", precision).loss < (1e-5 if precision == "fp32" else 0.02)


def test_what_is_prepared_is_a_copy() -> None:
    model = vit().train()
    kept = [value.clone() for value in model.parameters()]
    prepared = [prepare(model, images(), "plain", "bf16")]
    if PACKS_BF16:
        prepared.append(prepare(model, images(), "packed", "bf16"))
    before = [one(images()).summary for one in prepared]
    assert model.training and all(value.requires_grad for value in model.parameters())
    assert all(torch.equal(value, old) for value, old in zip(model.parameters(), kept, strict=True))
    with torch.no_grad():
        for value in model.parameters():
            value.zero_()
    assert all(torch.equal(one(images()).summary, old) for one, old in zip(prepared, before, strict=True))


@pytest.mark.parametrize("backend", ["plain", "packed"])
def test_what_is_prepared_neither_trains_nor_changes_the_model(backend: Backend) -> None:
    """Part of which may be in training, such as an encoder in evaluation mode within a new module."""
    model = nn.Sequential(nn.BatchNorm2d(3).eval(), nn.Dropout(), vit())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [part.training for part in model.modules()]
    assert prepare(model, 2 + images(), backend).loss < 1e-4
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_more_loss_than_the_bound_is_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BOUNDS, "bf16", 1e-6)
    with pytest.raises(UserError, match=r"lie 0\.\d+ away .* more than the 1e-06 allowed"):
        prepare(vit(), images(), "plain", "bf16")


def test_outputs_that_are_no_numbers_are_refused() -> None:
    model = vit()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(UserError, match="lie nan away"):
        prepare(model, images(), "plain", "fp32")


def test_what_does_not_exist_is_told_with_what_does() -> None:
    with pytest.raises(UserError, match="choose openvino or auto"):
        prepare(vit(), images(), "plain", "int8")


def test_a_missing_library_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIBRARIES, ("openvino", "fp32"), ("no_such_library",))
    with pytest.raises(UserError, match=r"no_such_library, .*pip install 'beholder\[fast\]'"):
        prepare(vit(), images(), "openvino", "fp32")


_COMPILED = """
import torch
from beholder.backends.choose import prepare
from beholder.models.vit import PRESETS, ViT
torch.manual_seed(0)
torch.set_num_threads(1)
model, others = ViT(PRESETS["debug"]).eval(), torch.randn(3, 3, 16, 16)
found = prepare(model, torch.randn(5, 3, 16, 16), "compiled")(others)
torch.testing.assert_close(found.summary, model(others).summary.detach(), rtol=1e-3, atol=1e-4)
"""


@pytest.mark.slow
def test_compiling_gives_the_models_own_outputs() -> None:
    """In a process where shapes are not checked at run time, which torch.compile cannot read."""
    subprocess.run([sys.executable, "-c", _COMPILED], check=True)


class Counting(nn.Module):
    """What comes out depends on the numbers that go in, in a way that no graph holds."""

    def forward(self, x: Tensor) -> Tensor:
        return x * float(x.abs().sum().item() > 0)


def test_a_model_that_a_library_cannot_read_is_told_in_a_sentence() -> None:
    def build(*told: Any) -> Any:
        raise RuntimeError("data-dependent.\nmore lines")

    key: tuple[Backend, Precision] = ("plain", "fp32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(choosing._BUILDS, key, build)
        with pytest.raises(UserError, match=r"cannot run this model \(data-dependent\); choose"):
            prepare(Counting(), images(), *key)


def test_the_fastest_comes_first_and_what_is_refused_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIBRARIES, ("openvino", "fp32"), ("no_such_library",))
    trials = choose(vit(), images(), backends=("openvino", "plain", "packed"))
    assert [trial.seconds is None for trial in trials] == [False, False, True]
    assert trials[0].seconds <= trials[1].seconds  # type: ignore[operator]
    assert "no_such_library" in (trials[2].refused or "")
    monkeypatch.setattr(choosing, "QUICK", ("plain",))
    assert prepare(vit(), images()).backend == "plain"


def test_flat_tensors_come_back_in_their_form() -> None:
    outputs = Outputs((torch.zeros(1), torch.ones(2)), torch.full((3,), 2.0))
    again = rebuild(outputs, [one + 1 for one in flatten(outputs)])
    assert isinstance(again, Outputs) and isinstance(again.maps, tuple)
    assert torch.equal(again.maps[1], torch.full((2,), 2.0)) and torch.equal(again.summary, torch.full((3,), 3.0))
    assert isinstance(rebuild([torch.zeros(1)], [torch.ones(1)]), list)
