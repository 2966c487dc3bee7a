"""A slow teacher and the game played with it: from what the student saw, find the image among the batch's.

The loss is contrastive over the batch (MoCo v3, Chen, Xie & He 2021, arXiv 2104.02057): constant features give its
worst value, log(batch), so collapse is no minimum, and it learns within a few hundred small batches.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.types import Losses, Outputs, UserError


@dataclass(frozen=True)
class RecognitionConfig:
    """Heads, teacher and sharpness."""

    hidden_width: int = 512
    """Of the two heads."""
    width: int = 128
    """Of the space in which views are compared."""
    temperature: float = 0.1
    """Divides cosines before the softmax; smaller looks at the most similar images only."""
    first_momentum: float = 0.99
    """Share of itself that the teacher keeps at each step; rises to 1 along a half cosine. 0.99 suits hundreds of
    steps, 0.996 thousands."""


class Recognition(nn.Module):
    """The student's heads, and the teacher: a moving average of model and projection that never gets gradients.

    Every map's mean and the summary enter the heads together, so that all depths that a readout may use are trained.
    """

    def __init__(self, model: Any, config: RecognitionConfig) -> None:
        super().__init__()
        self.config = config
        self.project = _head(sum(model.map_widths) + model.summary_width, config)
        self.predict = _head(config.width, config)
        self.teacher = copy.deepcopy(model).requires_grad_(False)
        self.teacher_project = copy.deepcopy(self.project).requires_grad_(False)

    def forward(self, outputs: Outputs, told: Float[Tensor, "R D"], num_views: int) -> Losses:
        """Cross-entropy of finding each of the student's images among the teacher's, over all ordered pairs of views.

        `outputs` and `told` have V B rows, view by view; with one view the teacher's is the same. Parts: "agreement",
        the mean cosine of prediction and teacher; "spread", the teacher's standard deviation over the batch times the
        root of its width: about 1 when healthy, 0 when collapsed. Raises UserError for fewer than two images.
        """
        num_images = len(told) // num_views
        if num_images < 2:
            raise UserError("The batch holds 1 image and the objective tells images apart; use at least 2 per batch.")
        said = self.predict(self.project(pool(outputs))).float()
        said = F.normalize(said, dim=1).unflatten(0, (num_views, num_images))  # V B D
        told = told.unflatten(0, (num_views, num_images))  # V B D
        with torch.autocast(told.device.type, enabled=False):  # bfloat16 has no room for a cosine over a temperature
            cosines = torch.einsum("vbd,wcd->vwbc", said, told)  # V V B B
        if num_views > 1:
            cosines = cosines[~torch.eye(num_views, dtype=torch.bool, device=told.device)]  # V(V-1) B B
        cosines = cosines.reshape(-1, num_images, num_images)
        same = torch.arange(num_images, device=told.device).expand(len(cosines), -1)
        loss = F.cross_entropy((cosines / self.config.temperature).transpose(1, 2), same)
        agreement = cosines.detach().diagonal(dim1=1, dim2=2).mean()
        spread = told.std(1, correction=0).square().mean().sqrt() * math.sqrt(self.config.width)
        return Losses(loss, {"agreement": float(agreement), "spread": float(spread)})

    @torch.no_grad()
    def tell(self, images: Float[Tensor, "R C H W"]) -> Float[Tensor, "R D"]:
        """The teacher's unit vector of each image."""
        return F.normalize(self.teacher_project(pool(self.teacher(images))).float(), dim=1)

    def update(self, model: Any, progress: float) -> None:
        """Let the teacher follow the student, ever more slowly."""
        momentum = rising_momentum(self.config.first_momentum, progress)
        follow(self.teacher, model, momentum)
        follow(self.teacher_project, self.project, momentum)


def pool(outputs: Outputs) -> Float[Tensor, "B D"]:
    """The mean of every map beside the summary."""
    return torch.cat([*(features.float().mean((2, 3)) for features in outputs.maps), outputs.summary.float()], dim=1)


def rising_momentum(first: float, progress: float) -> float:
    """From `first` at progress 0 to 1 at progress 1, along a half cosine (Grill et al. 2020, arXiv 2006.07733)."""
    return 1.0 - (1.0 - first) * 0.5 * (1.0 + math.cos(math.pi * progress))


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, momentum: float) -> None:
    """Move every parameter of `average` towards `model`'s, keeping `momentum` of its own (Tarvainen & Valpola 2017,
    arXiv 1703.01780). Running statistics and other buffers stay the average's own.
    """
    averaged, current = list(average.parameters()), list(model.parameters())
    assert len(averaged) == len(current), "the average is of another model"
    for kept, new in zip(averaged, current, strict=True):
        kept.lerp_(new, 1.0 - momentum)


def _head(num_inputs: int, config: RecognitionConfig) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(num_inputs, config.hidden_width, bias=False),
        nn.BatchNorm1d(config.hidden_width),
        nn.GELU(),
        nn.Linear(config.hidden_width, config.width),
    )
