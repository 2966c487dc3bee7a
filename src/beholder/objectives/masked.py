"""Masked prediction: parts of the image are painted over; the model says what lay there, and which image it was.

Painting works for any backbone, convolutional or not (SimMIM, Xie et al. 2021, arXiv 2111.09886). Pixels alone teach
texture slowly; recognising the whole image from what is left of it, as in masked siamese networks (Assran et al. 2022,
arXiv 2204.07141) and iBOT (Zhou et al. 2021, arXiv 2111.07832), is what orders images by content.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.objectives.recognition import Recognition, RecognitionConfig
from beholder.types import Batch, Losses, Outputs, UserError


@dataclass(frozen=True)
class MaskedPredictionConfig:
    """What is hidden and what is asked."""

    ratio: float = 0.5
    """Share of cells that are painted over."""
    cell: int = 2
    """Side of a painted cell, in strides of the model's finest map."""
    width: int = 192
    """Of the light head that predicts pixels."""
    pixels_weight: float = 1.0
    """Of the pixel loss beside the recognition loss."""
    recognition: RecognitionConfig = field(default_factory=lambda: RecognitionConfig(temperature=0.2))
    """Softer than between whole views: what is left of an image fits several."""


class MaskedPrediction(nn.Module):
    """Objective over batches with one or more views; the teacher sees whole images, of another view if there is one."""

    def __init__(self, model: Any, config: MaskedPredictionConfig = MaskedPredictionConfig()) -> None:
        super().__init__()
        if not 0.0 < config.ratio < 1.0:
            raise UserError(f"ratio={config.ratio}: the share that is painted over lies between 0 and 1, such as 0.5.")
        self.config = config
        self.stride = min(model.map_strides)
        self.paint = nn.Parameter(torch.zeros(1, 3, 1, 1))  # begins as the mean colour of normalised pixels
        self.lateral = nn.ModuleList(nn.Conv2d(width, config.width, 1) for width in model.map_widths)
        self.norm = nn.GroupNorm(1, config.width)
        self.pixels = nn.Conv2d(config.width, 3 * self.stride**2, 1)
        self.recognition = Recognition(model, config.recognition)

    def forward(self, model: Any, batch: Batch) -> Losses:
        """Parts: "pixels", the mean squared error at painted places, where 1 is what predicting the patch's mean
        costs; "recognition", and the parts of `Recognition`. Raises UserError for fewer than two images.
        """
        views = batch["views"]  # V B C H W
        images = views.flatten(0, 1)  # R C H W
        hidden = self.hide(images)  # R 1 h w
        places = _enlarge(hidden, self.stride, images.shape[2:])
        outputs = model(torch.where(places, self.paint.to(images.dtype), images))
        recognised = self.recognition(outputs, self.recognition.tell(images), len(views))
        error = self.pixel_error(outputs, images)  # R 1 h w
        pixels = error[hidden].mean()
        parts = {"pixels": float(pixels.detach()), "recognition": float(recognised.total.detach())}
        return Losses(recognised.total + self.config.pixels_weight * pixels, {**parts, **recognised.parts})

    def hide(self, images: Float[Tensor, "R C H W"]) -> Bool[Tensor, "R 1 h w"]:
        """Which places of the finest map's grid are painted over: the same number of random cells in every image.

        Drawn from torch's global generator on the CPU. Cells at the right and bottom edge may be cut.
        """
        rows, columns = (side // self.stride for side in images.shape[2:])
        if rows * columns < 2:
            raise UserError(
                f"Images of {images.shape[3]} x {images.shape[2]} pixels are too small to hide a part of at stride "
                f"{self.stride}; choose a larger image size."
            )
        cell = self.config.cell
        tall, wide = -(-rows // cell), -(-columns // cell)
        num_hidden = min(max(round(self.config.ratio * tall * wide), 1), max(tall * wide - 1, 1))
        ranks = torch.rand(len(images), tall * wide).argsort(1).argsort(1)
        cells = (ranks < num_hidden).view(-1, 1, tall, wide)
        return _repeat(cells, cell)[:, :, :rows, :columns].to(images.device)

    def pixel_error(self, outputs: Outputs, images: Float[Tensor, "R C H W"]) -> Float[Tensor, "R 1 h w"]:
        """Mean squared error of each patch's pixels; the target is the patch less its mean, over its spread, as in MAE
        (He et al. 2021, arXiv 2111.06377), so that edges count as much in dark places as in bright ones.
        """
        grid = tuple(side // self.stride for side in images.shape[2:])
        heard = [lateral(features) for lateral, features in zip(self.lateral, outputs.maps, strict=True)]
        joined = torch.stack([_fit(features.float(), grid) for features in heard]).sum(0)  # R D h w
        predicted = self.pixels(F.gelu(self.norm(joined))).float()
        height, width = (side * self.stride for side in grid)
        target = F.pixel_unshuffle(images[:, :, :height, :width].float(), self.stride)  # R (C P P) h w
        spread = (target.var(1, keepdim=True) + 1e-2).sqrt()  # a flat patch must not turn its noise into a task
        target = (target - target.mean(1, keepdim=True)) / spread
        return (predicted - target).square().mean(1, keepdim=True)

    def after_step(self, model: Any, progress: float) -> None:
        self.recognition.update(model, progress)


def _repeat(cells: Bool[Tensor, "R 1 h w"], times: int) -> Bool[Tensor, "R 1 H W"]:
    return cells.repeat_interleave(times, 2).repeat_interleave(times, 3)


def _enlarge(hidden: Bool[Tensor, "R 1 h w"], stride: int, size: torch.Size) -> Bool[Tensor, "R 1 H W"]:
    """From the map's grid to pixels; a remainder that is no whole place stays visible."""
    places = _repeat(hidden, stride)
    return F.pad(places, (0, size[1] - places.shape[3], 0, size[0] - places.shape[2]))


def _fit(features: Float[Tensor, "R D h w"], grid: tuple[int, ...]) -> Float[Tensor, "R D H W"]:
    return features if features.shape[2:] == grid else F.interpolate(features, grid, mode="nearest")
