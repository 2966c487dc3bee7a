"""The codec of VQGAN with its published module names, written down once more and independently of ours, as something to
compare with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(num_groups=32, num_channels=width, eps=1e-6, affine=True)


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


class ResnetBlock(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.norm1 = norm(inside)
        self.conv1 = nn.Conv2d(inside, outside, 3, 1, 1)
        self.norm2 = norm(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1)
        if inside != outside:
            self.nin_shortcut = nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(swish(self.norm2(self.conv1(swish(self.norm1(x))))))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class AttnBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = norm(width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        y = self.norm(x)
        q, k, v = self.q(y).reshape(b, c, h * w), self.k(y).reshape(b, c, h * w), self.v(y).reshape(b, c, h * w)
        weights = torch.softmax(torch.bmm(q.permute(0, 2, 1), k) * c**-0.5, dim=2)  # b i j
        seen = torch.bmm(v, weights.permute(0, 2, 1)).reshape(b, c, h, w)
        return x + self.proj_out(seen)


class Resize(nn.Module):
    def __init__(self, width: int, is_down: bool) -> None:
        super().__init__()
        self.is_down = is_down
        self.conv = nn.Conv2d(width, width, 3, stride=2) if is_down else nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.is_down:
            return self.conv(F.pad(x, (0, 1, 0, 1), value=0.0))
        return self.conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3))


class Middle(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = ResnetBlock(width, width), AttnBlock(width), ResnetBlock(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Half(nn.Module):
    """Encoder or decoder; `down` or `up` holds the levels, the finest first."""

    def __init__(
        self, ch: int, ch_mult: tuple[int, ...], blocks: int, attn: set[int], z: int, is_encoder: bool
    ) -> None:
        super().__init__()
        self.is_encoder, count = is_encoder, len(ch_mult)
        levels: list[nn.Module] = [nn.Module() for _ in range(count)]
        widths = [ch * factor for factor in ch_mult]
        width = ch if is_encoder else widths[-1]
        self.conv_in = nn.Conv2d(3 if is_encoder else z, width, 3, 1, 1)
        for number in range(count) if is_encoder else reversed(range(count)):
            level = levels[number]
            level.block, level.attn = nn.ModuleList(), nn.ModuleList()
            for _ in range(blocks if is_encoder else blocks + 1):
                level.block.append(ResnetBlock(width, widths[number]))
                width = widths[number]
                if number in attn:
                    level.attn.append(AttnBlock(width))
            if is_encoder and number < count - 1:
                level.downsample = Resize(width, True)
            if not is_encoder and number > 0:
                level.upsample = Resize(width, False)
        setattr(self, "down" if is_encoder else "up", nn.ModuleList(levels))
        self.mid = Middle(widths[-1])
        self.norm_out = norm(width)
        self.conv_out = nn.Conv2d(width, z if is_encoder else 3, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        if self.is_encoder:
            for level in self.down:
                x = self._level(level, x)
            return self.conv_out(swish(self.norm_out(self.mid(x))))
        x = self.mid(x)
        for level in reversed(self.up):
            x = self._level(level, x)
        return self.conv_out(swish(self.norm_out(x)))

    @staticmethod
    def _level(level: nn.Module, x: Tensor) -> Tensor:
        for number, block in enumerate(level.block):
            x = block(x)
            if len(level.attn):
                x = level.attn[number](x)
        for name in ("downsample", "upsample"):
            if hasattr(level, name):
                x = getattr(level, name)(x)
        return x


class Table(nn.Module):
    def __init__(self, count: int, width: int, is_unit: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(count, width)
        self.is_unit = is_unit

    def rows(self) -> Tensor:
        return F.normalize(self.embedding.weight, dim=-1) if self.is_unit else self.embedding.weight

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        points = z.permute(0, 2, 3, 1)
        points = F.normalize(points, dim=-1) if self.is_unit else points
        codes = torch.cdist(points.reshape(-1, points.shape[-1]), self.rows()).argmin(1).reshape(points.shape[:3])
        return self.rows()[codes].permute(0, 3, 1, 2), codes


class VQModel(nn.Module):
    def __init__(
        self, ch: int, ch_mult: tuple[int, ...], blocks: int, attn: set[int], z: int, embed: int, codes: int,
        is_unit: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder = Half(ch, ch_mult, blocks, attn, z, True)
        self.decoder = Half(ch, ch_mult, blocks, attn, z, False)
        self.quantize = Table(codes, embed, is_unit)
        self.quant_conv, self.post_quant_conv = nn.Conv2d(z, embed, 1), nn.Conv2d(embed, z, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        values, codes = self.quantize(self.quant_conv(self.encoder(x)))
        return self.decoder(self.post_quant_conv(values)), codes


def as_llamagen(name: str, num_levels: int) -> str:
    """The same tensor as LlamaGen calls it."""
    name = (
        name.replace(".mid.block_1.", ".mid.0.").replace(".mid.attn_1.", ".mid.1.").replace(".mid.block_2.", ".mid.2.")
    )
    name = name.replace("encoder.down.", "encoder.conv_blocks.")
    for level in range(num_levels):
        name = name.replace(f"decoder.up.{level}.", f"decoder.conv_blocks.{num_levels - 1 - level}.")
    return name.replace(".block.", ".res.")
