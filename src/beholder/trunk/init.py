"""First values of a trunk's parameters, all said here."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """Fill every linear map and convolution below `module`; norms stay at one and zero.

    Linear maps: Xavier's uniform (Glorot & Bengio 2010), biases zero, as in MAE (He et al. 2021, arXiv 2111.06377); a
    patch convolution counts as the linear map that it is. The joint query-key-value matrix is three square maps, so
    each third is filled by itself. Draws from torch's global generator.
    """
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear):
            thirds = part.weight.chunk(3) if name.rpartition(".")[2] == "qkv" else (part.weight,)
            for matrix in thirds:
                nn.init.xavier_uniform_(matrix)
        elif isinstance(part, nn.Conv2d):
            nn.init.xavier_uniform_(part.weight.view(len(part.weight), -1))
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)
