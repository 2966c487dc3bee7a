"""What a codec begins with, fitted in closed form to a few pictures: training then has to find only what linear maps
and the nearest of a thousand squares cannot do."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

_MOST_POINTS = 65_536
"""That rows of a table are found among."""
_MOST_SPREAD = 2_048
"""Rows that start far from each other, each chosen after those before it; more of them start where points are."""


def principal_components(
    squares: Float[Tensor, "n pixels"], width: int, *, is_whitened: bool
) -> tuple[Float[Tensor, "D pixels"], Float[Tensor, " D"]]:
    """Weight and bias of the map to the first components, D of them or what squares have, the rest zeros.

    `is_whitened`: each has the same spread, as a grid of points with as many levels a coordinate wants it; else
    distances between points are those between squares but for one factor, which makes the mean variance 1, as the
    nearest row of a table wants it.
    """
    mean = squares.mean(0)
    variances, axes = torch.linalg.eigh((squares - mean).T @ (squares - mean) / len(squares))
    count = min(width, len(axes))
    variances, axes = variances[-count:].flip(0), axes[:, -count:].flip(1)
    scale = variances.clamp_min(1e-6) if is_whitened else variances.mean().clamp_min(1e-6)
    weight, bias = squares.new_zeros(width, squares.shape[1]), squares.new_zeros(width)
    weight[:count] = (axes / scale.sqrt()).T
    bias[:count] = -(mean @ weight[:count].T)
    return weight, bias


def rows_among(points: Float[Tensor, "n D"], num_rows: int, seed: int = 0) -> Float[Tensor, "K D"]:
    """Centres of k-means; where there are fewer different points than rows, the points, some of them more often."""
    draws = np.random.default_rng(seed)
    seen = points.float().cpu().numpy()[draws.permutation(len(points))[:_MOST_POINTS]]
    table = draws.permutation(np.unique(seen, axis=0))
    if len(table) > num_rows:
        from sklearn.cluster import MiniBatchKMeans  # here: it takes as long to import as all else that loads a model

        start: Any = "k-means++" if num_rows <= _MOST_SPREAD else table[:num_rows]
        search = MiniBatchKMeans(num_rows, init=start, batch_size=4096, n_init="auto", max_iter=20, random_state=seed)
        table = search.fit(seen).cluster_centers_
    return torch.from_numpy(np.resize(table, (num_rows, points.shape[1]))).to(points)


def readout(
    values: Float[Tensor, "B D h w"], squares: Float[Tensor, "n pixels"]
) -> tuple[Float[Tensor, "pixels D 3 3"], Float[Tensor, " pixels"]]:
    """Weight and bias of the 3 x 3 convolution that paints squares from a place and its eight neighbours with the least
    squared error."""
    seen = F.unfold(values.double(), 3, padding=1).transpose(1, 2).flatten(0, 1)  # n 9D
    seen = torch.cat([seen, torch.ones_like(seen[:, :1])], dim=1)
    products = seen.T @ seen
    products.diagonal().add_(1e-6 * len(seen))  # a coordinate may be the same everywhere
    solved = torch.linalg.solve(products, seen.T @ squares)
    return solved[:-1].T.unflatten(1, (values.shape[1], 3, 3)), solved[-1]
