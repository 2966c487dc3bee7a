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
from torch.nn import functional as F

from beholder.models.codebook import CodebookConfig, FiniteScalar, LearnedCodes, Quantised, build_codebook
from beholder.models.codec_start import principal_components, readout, rows_among
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

    has_line: bool = False
    """Whether a linear map runs beside encoder and decoder, which then have to learn only what it cannot do (shortcuts
    beside codecs: Chen et al. 2024, arXiv 2410.10733). `begin` fits it, and training starts from a usable codec."""

    @property
    def stride(self) -> int:
        """Pixels a side that one code stands for."""
        return self.conv.stride if self.kind == "conv" else self.vit.patch_size


OWN_CODES = CodebookConfig("learned", width=16, is_unit=False, commitment=1.0, follows=True)
"""A thousand rows among squares of the user's own pictures. After the same minutes pictures come back 2 to 3 dB nearer
than from a grid, which spends codes on squares that nobody has (docs/benchmarks.md)."""
PRESETS = {
    "conv-64": CodecConfig(
        codebook=OWN_CODES,
        has_line=True,
        conv=ConvCoderConfig(128, (1,), num_blocks=0, num_groups=0, is_slim=True, patch_size=8),
    ),
    "vit-64": CodecConfig("vit", OWN_CODES, has_line=True),
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
        self.line_in = nn.Conv2d(3, width, config.stride, config.stride) if config.has_line else None
        self.line_out = nn.Conv2d(width, 3 * config.stride**2, 3, padding=1) if config.has_line else None
        self.register_buffer("spread", torch.ones(width) if config.has_line else None)
        """Of the linear map's coordinates: the encoder moves each in its own measure."""
        self.spread: Tensor
        if self.line_in is not None:
            self.line_in.requires_grad_(not config.codebook.follows)
            for last in (self.encoder.last, self.decoder.last):
                for weights in last.parameters():
                    nn.init.zeros_(weights)

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
        points = self.encoder(pixels)
        if self.line_in is not None:
            points = self.line_in(pixels) + self.spread[:, None, None] * points
        return self.codebook(points.permute(0, 2, 3, 1))

    def paint(self, values: Float[Tensor, "B h w D"]) -> Float[Tensor, "B 3 H W"]:
        """The decoder's picture of those points; it may leave -1 to 1 a little."""
        values = values.permute(0, 3, 1, 2)
        painted = self.decoder(values)
        return (
            painted if self.line_out is None else painted + F.pixel_shuffle(self.line_out(values), self.config.stride)
        )

    @torch.no_grad()
    def begin(self, pixels: Float[Tensor, "B 3 H W"]) -> None:
        """Fit the linear maps to these pictures in closed form: principal components of each square in; a table that is
        learned, by k-means; out, least squares from the codes of a square and its eight neighbours. A codec without
        them stays as it is."""
        line_in, line_out, book = self.line_in, self.line_out, self.codebook
        if line_in is None or line_out is None:
            return
        assert line_in.bias is not None and line_out.bias is not None
        stride = self.config.stride
        squares = F.unfold(pixels.float(), stride, stride=stride).transpose(1, 2).flatten(0, 1).double()  # n 3PP
        weight, bias = principal_components(squares, book.width, is_whitened=isinstance(book, FiniteScalar))
        line_in.weight.copy_(weight.reshape(line_in.weight.shape))
        line_in.bias.copy_(bias)
        points = line_in(pixels).permute(0, 2, 3, 1)
        self.spread.copy_(points.flatten(0, 2).std(0))
        if isinstance(book, LearnedCodes):
            book.table.copy_(rows_among(points.flatten(0, 2), book.num_codes))
        weight, bias = readout(book(points).values.permute(0, 3, 1, 2), squares)
        line_out.weight.copy_(weight)
        line_out.bias.copy_(bias)

    @torch.no_grad()
    def encode(self, pixels: Float[Tensor, "B 3 H W"]) -> Int[Tensor, "B h w"]:
        """Numbers of codes, from 0."""
        return self.quantise(pixels).codes

    @torch.no_grad()
    def decode(self, codes: Int[Tensor, "B h w"]) -> Float[Tensor, "B 3 H W"]:
        """The picture, within -1 to 1."""
        return self.paint(self.codebook.embed(codes)).clamp(-1, 1)
