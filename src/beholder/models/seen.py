"""What a vision backbone says of an image, as a few tokens that a language model can read."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.models.clip import CLIP
from beholder.models.conv import EfficientNetLite
from beholder.models.vit import ViT
from beholder.types import UserError


class SeenTokens(nn.Module):
    """A frozen backbone; `forward` gives the summary of the image and then its parts, row by row, `side` x `side` of
    them: of a convolutional network the last layer over its map, of a ViT the last block's patches."""

    def __init__(self, backbone: nn.Module, side: int = 4) -> None:
        super().__init__()
        self.backbone = backbone.image.vit if isinstance(backbone, CLIP) else backbone
        if not isinstance(self.backbone, EfficientNetLite | ViT):
            raise UserError(
                f"{type(backbone).__name__} gives no tokens of images; name a ViT, DINO or CLIP, a model that adapt "
                "made, or embedded."
            )
        self.side = side
        self.requires_grad_(False)

    @property
    def num_tokens(self) -> int:
        """Of an image."""
        return 1 + self.side**2

    @property
    def width(self) -> int:
        """Numbers of a token."""
        assert isinstance(self.backbone, EfficientNetLite | ViT)
        return self.backbone.summary_width

    def places(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        """What the last two depths say of each place, each about its mean over the image and of length one: what tells
        the parts of an image apart."""
        maps = self.backbone(pixels).maps[-2:]
        size = maps[0].shape[2:]
        even = [F.interpolate(one, size, mode="bilinear") if one.shape[2:] != size else one for one in maps]
        return torch.cat([F.normalize(one - one.mean((2, 3), keepdim=True), dim=1) for one in even], dim=1)

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B S C"]:
        outputs = self.backbone(pixels)
        parts = outputs.maps[-1]
        if isinstance(self.backbone, EfficientNetLite):
            parts = self.backbone.head(parts)
        parts = F.adaptive_avg_pool2d(parts, self.side).flatten(2).transpose(1, 2)
        return torch.cat([outputs.summary[:, None], parts], dim=1)


def shown_briefly(summary: Float[Tensor, "B C"], num_tokens: int, blank: Float[Tensor, " C"]) -> Float[Tensor, "B S C"]:
    """A part of an image as a model reads it: its summary, and nothing more."""
    shown = blank.to(summary).expand(len(summary), num_tokens, -1).clone()
    shown[:, 0] = summary
    return shown
