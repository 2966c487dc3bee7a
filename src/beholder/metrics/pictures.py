"""How alike pictures are, how alike sets of them are, and how well a table of codes is used."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

_WINDOW, _SPREAD = 11, 1.5
"""Pixels a side and spread of the window of SSIM, as published."""
_LEAST_ERROR = 1e-10
"""Mean squared error of equal pictures, so that their PSNR is 100 dB and no infinity."""


def psnr(pictures: Float[Tensor, "B C H W"], others: Float[Tensor, "B C H W"]) -> Float[Tensor, " B"]:
    """Peak signal to noise of each pair in decibels, of pixels from 0 to 1; 100 for equal ones."""
    error = (pictures.double() - others.double()).square().flatten(1).mean(1)
    return -10 * error.clamp_min(_LEAST_ERROR).log10()


def ssim(pictures: Float[Tensor, "B C H W"], others: Float[Tensor, "B C H W"]) -> Float[Tensor, " B"]:
    """Structural similarity of each pair, of pixels from 0 to 1: 1 for equal ones (Wang et al. 2004, IEEE TIP 13:4).

    The mean over channels and over all places of an 11 x 11 Gaussian window that lie whole within the picture; the
    window is smaller where the picture is.
    """
    side = min(_WINDOW, *pictures.shape[2:])
    place = torch.arange(side, dtype=torch.float64, device=pictures.device) - (side - 1) / 2
    window = torch.exp(-0.5 * (place / _SPREAD) ** 2)
    window = window / window.sum()

    def blurred(x: Tensor) -> Tensor:
        rows = F.conv2d(x.flatten(0, 1)[:, None], window[None, None, :, None])
        return F.conv2d(rows, window[None, None, None, :])  # BC 1 h w

    one, two = pictures.double(), others.double()
    mean1, mean2 = blurred(one), blurred(two)
    spread1, spread2 = blurred(one * one) - mean1**2, blurred(two * two) - mean2**2
    shared = blurred(one * two) - mean1 * mean2
    small1, small2 = 0.01**2, 0.03**2
    alike = (2 * mean1 * mean2 + small1) * (2 * shared + small2)
    alike = alike / ((mean1**2 + mean2**2 + small1) * (spread1 + spread2 + small2))
    return alike.unflatten(0, pictures.shape[:2]).flatten(1).mean(1)


def frechet_distance(rows: Float[np.ndarray, "n D"], others: Float[np.ndarray, "m D"]) -> float:
    """Between two sets of features, each taken for a Gaussian: 0 when mean and covariance agree (Heusel et al. 2017,
    arXiv 1706.08500, "FID" where the features are Inception's)."""
    one, two = np.asarray(rows, np.float64), np.asarray(others, np.float64)
    difference = one.mean(0) - two.mean(0)
    cov1, cov2 = (np.atleast_2d(np.cov(each, rowvar=False)) for each in (one, two))
    sizes, axes = np.linalg.eigh(cov1)
    root = (axes * np.sqrt(sizes.clip(0))) @ axes.T
    # The trace of sqrt(cov1 cov2) is that of the symmetric sqrt(root cov2 root).
    crossed = np.sqrt(np.linalg.eigvalsh(root @ cov2 @ root).clip(0)).sum()
    return float(max(0.0, difference @ difference + np.trace(cov1) + np.trace(cov2) - 2 * crossed))


def share_used(codes: Int[np.ndarray, ...], num_codes: int) -> float:
    """Share of all codes that come up at least once."""
    return len(np.unique(codes)) / num_codes


def perplexity(codes: Int[np.ndarray, ...]) -> float:
    """How many codes, used equally often, would carry as much: e to the entropy; 1 when one code is always used."""
    _, counts = np.unique(codes, return_counts=True)
    shares = counts / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
