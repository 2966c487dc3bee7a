"""Resampling as a product is what torch's own antialiased resampling gives, whatever the sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from beholder.tokenizers.resampling_matrix import Resampling, resampling_matrix


@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
@settings(deadline=None, max_examples=40, derandomize=True)
@given(length=st.integers(1, 120), wanted=st.integers(1, 120))
def test_it_equals_torchs(how: Resampling, length: int, wanted: int) -> None:
    values = torch.rand(1, 1, length, 2, generator=torch.Generator().manual_seed(length))
    expected = F.interpolate(values, (wanted, 2), mode=how, antialias=True, align_corners=False)
    assert torch.allclose(resampling_matrix(length, wanted, how) @ values, expected, atol=1e-5)
    part = resampling_matrix(length, wanted, how, wanted // 3, wanted - wanted // 3) @ values
    assert torch.allclose(part, expected[:, :, wanted // 3 :], atol=1e-5)
