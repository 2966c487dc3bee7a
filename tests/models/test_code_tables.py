"""Models of picture codes: one table reads a code and foretells it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from beholder.models.dalle import Form, TextToImageConfig, build_text_to_image
from beholder.models.lvm import LVM, LVMConfig
from beholder.models.maskgit import MaskGIT, MaskGITConfig
from beholder.trunk.init import initialise_like

NUM_CODES, GRID, NUM_PLACES = 512, (4, 4), 16


def masked() -> nn.Module:
    return MaskGIT(MaskGITConfig(NUM_CODES, GRID))


def sentences() -> nn.Module:
    return LVM(LVMConfig(NUM_CODES, GRID, NUM_CODES + 8, 1 + 2 * (1 + NUM_PLACES)))


def drawer(form: Form) -> Callable[[], nn.Module]:
    return lambda: build_text_to_image(TextToImageConfig(NUM_CODES, GRID, 8, 3, NUM_CODES + 9, form))


KINDS = pytest.mark.parametrize(
    "build", [masked, sentences, drawer("causal"), drawer("encoder-decoder")],
    ids=["masked", "sentences", "causal", "encoder-decoder"],
)  # fmt: skip


@KINDS
def test_scores_begin_with_unit_variance(build: Callable[[], nn.Module]) -> None:
    """What one hidden state says of all codes: rows of unit length times a state whose values are of size one."""
    torch.manual_seed(0)
    scores = scores_of_codes(build())
    assert 0.7 < float(scores.std()) < 1.3


@KINDS
def test_a_codes_row_is_all_that_tells_it_from_another(build: Callable[[], nn.Module]) -> None:
    """Where the rows of two codes are exchanged, so are their scores."""
    torch.manual_seed(0)
    model = build().eval()
    before = scores_of_codes(model)
    (table,) = [part for part in model.modules() if isinstance(part, nn.Embedding) and len(part.weight) > NUM_CODES]
    one, other = NUM_CODES - 2, NUM_CODES - 1  # neither is among the codes that are read
    with torch.no_grad():
        table.weight[[one, other]] = table.weight[[other, one]]
    after = scores_of_codes(model)
    assert torch.allclose(after[..., [other, one]], before[..., [one, other]], atol=1e-5)
    assert not torch.allclose(after[..., one], before[..., one], atol=1e-2)


@torch.no_grad()
def scores_of_codes(model: nn.Module) -> torch.Tensor:
    """Of the last place, with codes before it."""
    read = torch.arange(3 + 1 + NUM_PLACES if not isinstance(model, MaskGIT) else NUM_PLACES)[None]
    return model.eval()(read)[0, -1, :NUM_CODES]


def test_near_points_have_near_rows_and_no_two_are_the_same() -> None:
    torch.manual_seed(0)
    points = torch.randn(40, 8).repeat_interleave(2, dim=0)  # twins
    table = nn.Embedding(90, 128)
    others = table.weight[80:].detach().clone()
    initialise_like(table, points)
    rows = nn.functional.normalize(table.weight[:80].detach(), dim=1)
    likeness = rows @ rows.T
    twins = likeness[torch.arange(0, 80, 2), torch.arange(1, 80, 2)]
    assert float(twins.min()) > 0.2 and float(twins.max()) < 0.8
    assert abs(float(likeness[~torch.eye(80, dtype=torch.bool)].mean())) < 0.1
    assert torch.equal(table.weight[80:], others)
