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

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B S C"]:
        outputs = self.backbone(pixels)
        parts = outputs.maps[-1]
        if isinstance(self.backbone, EfficientNetLite):
            parts = self.backbone.head(parts)
        parts = F.adaptive_avg_pool2d(parts, self.side).flatten(2).transpose(1, 2)
        return torch.cat([outputs.summary[:, None], parts], dim=1)
