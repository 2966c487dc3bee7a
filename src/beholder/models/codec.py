"""Image codecs: an encoder that turns a picture into a grid of codes, and a decoder that paints the picture from them
(VQ-VAE: van den Oord et al. 2017, arXiv 1711.00937; VQGAN: Esser et al. 2020, arXiv 2012.09841).

A codec is what makes pictures readable to a language model: `encode` gives the words, `decode` reads them back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from beholder.models.codebook import CodebookConfig, Quantised, build_codebook
from beholder.models.conv_coder import ConvCoderConfig, ConvDecoder, ConvEncoder
from beholder.models.vit_coder import ViTCoderConfig, ViTDecoder, ViTEncoder


@dataclass(frozen=True)
class CodecConfig:
    """Shape of encoder, codebook and decoder."""

    kind: Literal["conv", "vit"] = "conv"
    codebook: CodebookConfig = field(default_factory=CodebookConfig)
    conv: ConvCoderConfig = field(default_factory=ConvCoderConfig)
    vit: ViTCoderConfig = field(default_factory=ViTCoderConfig)
    image_size: int = 64
    """Side in pixels of the pictures that it was trained on; a multiple of the stride."""

    @property
    def stride(self) -> int:
        """Pixels a side that one code stands for."""
        return self.conv.stride if self.kind == "conv" else self.vit.patch_size


PRESETS = {
    "conv-64": CodecConfig(),
    "vit-64": CodecConfig(kind="vit"),
    "debug": CodecConfig(
        codebook=CodebookConfig(levels=(4, 4)),
        conv=ConvCoderConfig(width=8, multipliers=(1, 1), num_blocks=1, num_groups=4, patch_size=2),
        image_size=16,
    ),
    "debug-vit": CodecConfig(
        "vit", CodebookConfig("learned", num_codes=16, width=4), vit=ViTCoderConfig(4, 16, 2, 2), image_size=16
    ),
}


class ImageCodec(nn.Module):
    """Pixels in -1 to 1 (B 3 H W, sides multiples of the stride) to codes (B h w) and back."""

    def __init__(self, config: CodecConfig = PRESETS["conv-64"]) -> None:
        super().__init__()
        self.config = config
        self.codebook = build_codebook(config.codebook)
        width = self.codebook.width
        if config.kind == "conv":
            self.encoder, self.decoder = ConvEncoder(config.conv, width), ConvDecoder(config.conv, width)
        else:
            self.encoder, self.decoder = ViTEncoder(config.vit, width), ViTDecoder(config.vit, width)

    @property
    def num_codes(self) -> int:
        return self.codebook.num_codes

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B 3 H W"], Quantised]:
        """The picture as it comes back, and what stood between (values B h w D)."""
        quantised = self.quantise(pixels)
        return self.paint(quantised.values), quantised

    def quantise(self, pixels: Float[Tensor, "B 3 H W"]) -> Quantised:
        """The encoder's points moved onto codes, B h w D."""
        stride = self.config.stride
        assert pixels.shape[2] % stride == 0 and pixels.shape[3] % stride == 0, (tuple(pixels.shape), stride)
        return self.codebook(self.encoder(pixels).permute(0, 2, 3, 1))

    def paint(self, values: Float[Tensor, "B h w D"]) -> Float[Tensor, "B 3 H W"]:
        """The decoder's picture of those points; it may leave -1 to 1 a little."""
        return self.decoder(values.permute(0, 3, 1, 2))

    @torch.no_grad()
    def encode(self, pixels: Float[Tensor, "B 3 H W"]) -> Int[Tensor, "B h w"]:
        """Numbers of codes, from 0."""
        return self.quantise(pixels).codes

    @torch.no_grad()
    def decode(self, codes: Int[Tensor, "B h w"]) -> Float[Tensor, "B 3 H W"]:
        """The picture, within -1 to 1."""
        return self.paint(self.codebook.embed(codes)).clamp(-1, 1)
