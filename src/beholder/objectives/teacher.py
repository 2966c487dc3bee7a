"""Self-distillation: a student recognises, from one view of an image, what its slow average says of another view.

The loss is contrastive over the batch (MoCo v3, Chen, Xie & He 2021, arXiv 2104.02057): constant features give its
worst value, log(batch), so collapse is no minimum, and it learns within a few hundred small batches, where prototype
and variance losses were slower (the figures stand in `benchmarks/objectives_cifar.py`).
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

from beholder.types import Batch, Losses, Outputs, UserError


@dataclass(frozen=True)
class SelfDistillationConfig:
    """Heads, teacher and sharpness."""

    hidden_width: int = 512
    """Of the two heads."""
    width: int = 128
    """Of the space in which views are compared."""
    temperature: float = 0.2
    """Divides cosines before the softmax; smaller looks at the hardest images only."""
    first_momentum: float = 0.99
    """Share of itself that the teacher keeps at each step; rises to 1 along a half cosine. 0.99 suits hundreds of
    steps, 0.996 thousands."""


class SelfDistillation(nn.Module):
    """Objective over batches with V >= 2 views. Owns the student's heads and the teacher.

    Every map's mean and the summary enter the head together, so that all depths that a readout may use are trained.
    """

    def __init__(self, model: Any, config: SelfDistillationConfig = SelfDistillationConfig()) -> None:
        super().__init__()
        self.config = config
        self.project = _head(sum(model.map_widths) + model.summary_width, config)
        self.predict = _head(config.width, config)
        self.teacher = copy.deepcopy(model).requires_grad_(False)
        self.teacher_project = copy.deepcopy(self.project).requires_grad_(False)

    def forward(self, model: Any, batch: Batch) -> Losses:
        """Cross-entropy of finding the same image's other view among the batch's, over all ordered pairs of views.

        Parts: "agreement", the mean cosine of a prediction and its teacher; "spread", the standard deviation of the
        teacher's unit vectors over the batch times the root of their width: about 1 when healthy, 0 when collapsed.
        Raises UserError for fewer than two views or two images.
        """
        views = batch["views"]  # V B C H W
        num_views, num_images = views.shape[:2]
        if num_views < 2 or num_images < 2:
            raise UserError(
                f"Self-distillation got {num_views} view(s) of {num_images} image(s) and compares views of several "
                "images; use at least 2 views and 2 images per batch."
            )
        images = views.flatten(0, 1)
        predicted = self.predict(self.project(pool(model(images))))
        with torch.no_grad():
            told = self.teacher_project(pool(self.teacher(images)))
        predicted = F.normalize(predicted.float(), dim=1).unflatten(0, (num_views, num_images))  # V B D
        told = F.normalize(told.float(), dim=1).unflatten(0, (num_views, num_images))
        cosines = torch.einsum("vbd,wcd->vwbc", predicted, told)  # V V B B
        pairs = ~torch.eye(num_views, dtype=torch.bool, device=views.device)
        cosines = cosines[pairs]  # V(V-1) B B
        same = torch.arange(num_images, device=views.device).expand(len(cosines), -1)
        loss = F.cross_entropy((cosines / self.config.temperature).transpose(1, 2), same)
        agreement = cosines.detach().diagonal(dim1=1, dim2=2).mean()
        spread = told.std(1, correction=0).mean() * math.sqrt(self.config.width)
        return Losses(loss, {"agreement": float(agreement), "spread": float(spread)})

    def after_step(self, model: Any, progress: float) -> None:
        momentum = rising_momentum(self.config.first_momentum, progress)
        follow(self.teacher, model, momentum)
        follow(self.teacher_project, self.project, momentum)


def pool(outputs: Outputs) -> Float[Tensor, "B D"]:
    """The mean of every map beside the summary."""
    return torch.cat([*(features.float().mean((2, 3)) for features in outputs.maps), outputs.summary.float()], dim=1)


def rising_momentum(first: float, progress: float) -> float:
    """From `first` at progress 0 to 1 at progress 1, along a half cosine (BYOL, Grill et al. 2020, arXiv 2006.07733)."""
    return 1.0 - (1.0 - first) * 0.5 * (1.0 + math.cos(math.pi * progress))


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, momentum: float) -> None:
    """Move every parameter of `average` towards `model`'s, keeping `momentum` of its own (Tarvainen & Valpola 2017,
    arXiv 1703.01780). Running statistics and other buffers stay the average's own.
    """
    kept, new = list(average.parameters()), list(model.parameters())
    assert len(kept) == len(new), "the average is of another model"
    torch._foreach_lerp_(kept, new, 1.0 - momentum)


def _head(num_inputs: int, config: SelfDistillationConfig) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(num_inputs, config.hidden_width, bias=False),
        nn.BatchNorm1d(config.hidden_width),
        nn.GELU(),
        nn.Linear(config.hidden_width, config.width),
    )
