"""First values of a trunk's parameters, all said here."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.trunk.attention import CrossAttention, JointLinear, SelfAttention
from beholder.trunk.block import Block
from beholder.trunk.experts import Experts
from beholder.trunk.position import BucketBias


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """Fill every linear map and convolution below `module`, as vision transformers like it; norms stay as they are.

    Linear maps: Xavier's uniform (Glorot & Bengio 2010), biases zero, as in MAE (He et al. 2021, arXiv 2111.06377); a
    patch convolution counts as the linear map that it is. Matrices that lie in one, such as those of query, key and
    value, are filled each by itself. Draws from torch's global generator.
    """
    for part in module.modules():
        for matrix in _matrices(part):
            nn.init.xavier_uniform_(matrix)
        _clear(part)


@torch.no_grad()
def initialise_language(module: nn.Module, std: float = 0.02) -> None:
    """Fill every linear map, convolution and table below `module`, as language models like it; biases are zero.

    Normal values; the maps back into the residual stream are smaller by the root of how many there are, so that its
    scale does not grow with depth (Radford et al. 2019).
    """
    for part in module.modules():
        for matrix in _matrices(part):
            nn.init.normal_(matrix, std=std)
        if isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=std)
        if isinstance(part, BucketBias):
            nn.init.normal_(part.table, std=std)
        _clear(part)
    blocks = [part for part in module.modules() if isinstance(part, Block)]
    num_branches = sum(2 + (block.cross is not None) for block in blocks)
    for block in blocks:
        for name, value in block.named_parameters():
            if name.endswith(("out.weight", "narrow.weight", "body.narrow")):
                value.mul_(1 / math.sqrt(num_branches))


@torch.no_grad()
def initialise_tables(module: nn.Module) -> None:
    """Fill every table below `module` with rows of unit length on the average, normal values.

    A table that is also the head then begins with scores of unit variance and knows a token by its row.
    """
    for part in module.modules():
        if isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=part.embedding_dim**-0.5)


@torch.no_grad()
def initialise_like(table: nn.Embedding, points: Float[Tensor, "K d"]) -> None:
    """Begin the first K rows, of unit length on the average, half as what the points tell and half as chance.

    Near points have near rows, as codes of grainy surfaces need that never come again as they were; and each row is
    still told from all others, as codes of flat ones need that are copied (research/LOG.md).
    """
    points = points.float().to(table.weight)
    turned = (points - points.mean(0)) @ torch.randn(points.shape[1], table.embedding_dim).to(points)
    chance = torch.randn(len(points), table.embedding_dim).to(points) / math.sqrt(table.embedding_dim)
    table.weight[: len(points)] = (F.normalize(turned, dim=1) + chance) / math.sqrt(2)


@torch.no_grad()
def initialise_unscaled(module: nn.Module) -> None:
    """Fill what is below `module` as T5 does, whose scores are not scaled (Raffel et al. 2019, arXiv 1910.10683).

    Tables are of unit variance. Maps keep their input's variance, but queries take in the scale that scores lack.
    """
    for part in module.modules():
        for matrix in _matrices(part):
            nn.init.normal_(matrix, std=matrix.shape[1] ** -0.5)
        if isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight)
        if isinstance(part, BucketBias):
            nn.init.normal_(part.table, std=0.05)
        _clear(part)
    for part in module.modules():
        if isinstance(part, SelfAttention):
            part.qkv.weight[: part.sizes[0]].mul_(part.head_width**-0.5)
        if isinstance(part, CrossAttention):
            part.query.weight.mul_(part.head_width**-0.5)


def _matrices(part: nn.Module) -> list[Tensor]:
    """The linear maps that `part` itself holds, each as one matrix."""
    if isinstance(part, SelfAttention):
        return list(part.qkv.weight.split(part.sizes))
    if isinstance(part, CrossAttention):
        return list(part.key_value.weight.chunk(2))
    if isinstance(part, Experts):
        return [*part.widen, *part.narrow]
    if isinstance(part, nn.Linear) and not isinstance(part, JointLinear):
        return [part.weight]
    if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return [part.weight.view(len(part.weight), -1)]
    return []


def _clear(part: nn.Module) -> None:
    if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) and part.bias is not None:
        nn.init.zeros_(part.bias)
