"""Vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929): the trunk reads patches of one image.

Registers: Darcet et al. 2023, arXiv 2309.16588.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.trunk.attention import AttentionConfig
from beholder.trunk.embed import PatchEmbedding
from beholder.trunk.init import initialise
from beholder.trunk.norm import NormConfig, build_norm
from beholder.trunk.pool import AttentionPool
from beholder.trunk.position import resample_positions, sine_positions
from beholder.trunk.transformer import Transformer, TransformerConfig, image_rotation
from beholder.types import Outputs, Tokens


@dataclass(frozen=True)
class ViTConfig:
    """Shape of the network."""

    patch_size: int = 16
    """Side of a patch in pixels."""
    image_size: int = 224
    """Side in pixels for which learned positions are stored; any other size interpolates them."""
    has_class_token: bool = True
    num_registers: int = 0
    """Learned tokens beside the class token that belong to no place."""
    positions: Literal["learned", "fixed", "sine", "none"] = "sine"
    """Where patches lie: a learned table, a stored one that is not trained (MAE), 2-D sines that are made when needed,
    or not told (or told by the trunk's rotary positions)."""
    has_class_position: bool = False
    """Whether a table begins with a row for the class token."""
    resampling: Literal["antialiased", "plain"] = "antialiased"
    """How a table meets another image size, always bicubic. The kernels differ (cubic coefficient -0.5 or -0.75), so
    that enlarging differs too: CLIP, SigLIP, ViT, DINOv2 and MAE are plain, DINOv2 with registers is antialiased."""
    has_patch_bias: bool = True
    has_mask_token: bool = False
    """Whether there is a learned token for patches that pretraining hides."""
    embedding_norm: NormConfig | None = None
    """Of all tokens before the first block, as in CLIP."""
    pool: Literal["class", "mean", "attention"] = "class"
    """What the summary is: the class token, the mean of the patches, or what a learned query reads of them."""
    pooler_width: int | None = None
    """Width of the dense layer and tanh that some checkpoints put on the summary; None: there is none."""
    classes: tuple[str, ...] = ()
    """What the classifier tells apart; empty: there is no classifier."""
    classifier_reads: Literal["summary", "summary_and_mean"] = "summary"
    """The summary alone, or with the mean of the patches beside it (DINOv2)."""
    trunk: TransformerConfig = field(default_factory=TransformerConfig)


def _trunk(width: int, depth: int, num_heads: int) -> TransformerConfig:
    return TransformerConfig(width, depth, AttentionConfig(num_heads))


PRESETS = {
    "tiny": ViTConfig(trunk=_trunk(192, 12, 3)),
    "small": ViTConfig(trunk=_trunk(384, 12, 6)),
    "base": ViTConfig(trunk=_trunk(768, 12, 12)),
    "thumbnail": ViTConfig(patch_size=4, image_size=32, trunk=_trunk(192, 5, 3)),
    "domain": ViTConfig(patch_size=12, image_size=96, trunk=_trunk(192, 6, 3)),
    "debug": ViTConfig(patch_size=4, image_size=16, num_registers=1, trunk=_trunk(32, 3, 2)),
}


class ViT(nn.Module):
    """The backbone: `forward` gives maps of three depths at one stride, and the class token as the summary."""

    def __init__(self, config: ViTConfig = ViTConfig()) -> None:
        super().__init__()
        self.config = config
        width = config.trunk.width
        self.positions: Tensor | None
        assert config.has_class_token or config.pool != "class", "there is no class token to be the summary"
        self.embed = PatchEmbedding(config.patch_size, width, config.has_patch_bias)
        num_prefix = config.has_class_token + config.num_registers
        self.prefix = nn.Parameter(torch.empty(1, num_prefix, width)) if num_prefix else None  # the class token first
        self.mask = nn.Parameter(torch.zeros(1, 1, width)) if config.has_mask_token else None
        hold_positions(self, config, width)
        self.norm = build_norm(config.embedding_norm, width) if config.embedding_norm else nn.Identity()
        self.trunk = Transformer(config.trunk)
        self.pool = AttentionPool(config.trunk) if config.pool == "attention" else None
        self.pooler = nn.Linear(width, config.pooler_width) if config.pooler_width else None
        num_read = width * (1 + (config.classifier_reads == "summary_and_mean"))
        self.classifier = nn.Linear(num_read, len(config.classes)) if config.classes else None
        initialise(self)
        if self.prefix is not None:
            nn.init.trunc_normal_(self.prefix, std=0.02)

    @property
    def map_depths(self) -> tuple[int, ...]:
        """Blocks, counted from 1, after which a map is read: a third, two thirds and all of the depth."""
        depth = self.config.trunk.depth
        return tuple(sorted({max(1, round(depth * third / 3)) for third in (1, 2, 3)}))

    @property
    def map_strides(self) -> tuple[int, ...]:
        return (self.config.patch_size,) * len(self.map_depths)

    @property
    def map_widths(self) -> tuple[int, ...]:
        return (self.config.trunk.width,) * len(self.map_depths)

    @property
    def summary_width(self) -> int:
        return self.config.trunk.width

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Outputs:
        """Pixels whose sides are no multiples of the patch size are resampled to the nearest multiples."""
        tokens, depths = self._read(pixels, None, self.map_depths)
        assert tokens.grid is not None
        num_prefix, grid = tokens.num_prefix, tokens.grid
        maps = tuple(depth[:, num_prefix:].transpose(1, 2).unflatten(2, grid) for depth in depths)  # B D h w
        return Outputs(maps=maps, summary=self._summary(depths[-1], num_prefix))

    def hidden(self, pixels: Float[Tensor, "B 3 H W"], is_hidden: Bool[Tensor, "B P"] | None = None) -> Tokens:
        """The last block's tokens, normalised: class token, registers, patches. Arguments as of `tokens`."""
        tokens, depths = self._read(pixels, is_hidden, ())
        return replace(tokens, values=depths[-1])

    def pooled(self, outputs: Outputs) -> Float[Tensor, "B D"]:
        """The summary through the checkpoint's dense layer and tanh; only with `pooler_width`."""
        assert self.pooler is not None, "this configuration has no pooler"
        return self.pooler(outputs.summary).tanh()

    def classify(self, outputs: Outputs) -> Float[Tensor, "B V"]:
        """Scores of `config.classes`, before any softmax; only where there are classes."""
        assert self.classifier is not None, "this configuration has no classifier"
        if self.config.classifier_reads == "summary":
            return self.classifier(outputs.summary)
        return self.classifier(torch.cat([outputs.summary, outputs.maps[-1].flatten(2).mean(2)], dim=1))

    def tokens(self, pixels: Float[Tensor, "B 3 H W"], is_hidden: Bool[Tensor, "B P"] | None = None) -> Tokens:
        """What the trunk reads: class token, registers, patches; with their positions.

        The mask token stands in for patches that are `is_hidden`; only with `has_mask_token`.
        """
        tokens = self.embed(_whole_patches(pixels, self.config.patch_size))
        assert tokens.grid is not None
        x, places = tokens.values, positions_at(self.config, self.positions, self.config.trunk.width, tokens.grid)
        if is_hidden is not None:
            assert self.mask is not None, "this configuration has no mask token"
            x = torch.where(is_hidden[:, :, None], self.mask.to(x.dtype), x)
        first = None
        if places is not None:
            num_first = int(self.config.has_class_position and self.positions is not None)
            places = places.to(x.device, self.embed.project.weight.dtype)  # not x's, which autocast makes narrow
            first, x = places[:, :num_first], x + places[:, num_first:]  # B T D
        if self.prefix is None:
            return Tokens(self.norm(x), tokens.grid)
        prefix = self.prefix
        if first is not None and first.shape[1]:
            prefix = torch.cat([prefix[:, :1] + first, prefix[:, 1:]], dim=1)
        x = torch.cat([prefix.expand(x.shape[0], -1, -1).to(x.dtype), x], dim=1)
        return Tokens(self.norm(x), tokens.grid, prefix.shape[1])

    def _read(
        self, pixels: Float[Tensor, "B 3 H W"], is_hidden: Bool[Tensor, "B P"] | None, taps: tuple[int, ...]
    ) -> tuple[Tokens, tuple[Float[Tensor, "B T D"], ...]]:
        tokens = self.tokens(pixels, is_hidden)
        assert tokens.grid is not None
        rotation = image_rotation(self.trunk, tokens.grid, tokens.num_prefix, pixels.device)
        return tokens, self.trunk(tokens.values, rotation=rotation, taps=taps)

    def _summary(self, x: Float[Tensor, "B T D"], num_prefix: int) -> Float[Tensor, "B D"]:
        if self.pool is not None:
            return self.pool(x[:, num_prefix:])
        return x[:, 0] if self.config.pool == "class" else x[:, num_prefix:].mean(1)


def with_stored_positions(model: ViT) -> ViT:
    """The same network, its sine positions written down in a table (with zeros for the class token), as other libraries
    keep them; the same to rounding at the configured image size, other sizes interpolate the table. Any other network
    as it is."""
    config = model.config
    if config.positions != "sine" or not config.has_class_token or config.num_registers:
        return model
    stored = ViT(replace(config, positions="learned", has_class_position=True, resampling="plain"))
    side = config.image_size // config.patch_size
    table = F.pad(sine_positions(side, side, config.trunk.width), (0, 0, 1, 0))
    stored.load_state_dict({**model.state_dict(), "positions": table})
    return stored.to(next(model.parameters()).dtype).train(model.training)


def hold_positions(module: nn.Module, config: ViTConfig, width: int) -> None:
    """Give `module` the table `positions` (1 T D) that the configuration asks for, or None: learned or fixed, for the
    configured image size, with a first row for the class token where it has one."""
    side, num_first = config.image_size // config.patch_size, int(config.has_class_position)
    if config.positions == "learned":
        table = nn.Parameter(torch.empty(1, num_first + side * side, width))
        nn.init.trunc_normal_(table, std=0.02)
        module.register_parameter("positions", table)
    elif config.positions == "fixed":
        module.register_buffer("positions", F.pad(sine_positions(side, side, width), (0, 0, num_first, 0)))
    else:
        module.register_parameter("positions", None)


def positions_at(
    config: ViTConfig, table: Float[Tensor, "1 S D"] | None, width: int, grid: tuple[int, int]
) -> Float[Tensor, "1 T D"] | None:
    """For every patch of a grid, after one for the class token where the table has it."""
    if config.positions == "none":
        return None
    if table is None:
        return sine_positions(*grid, width)
    side, num_first = config.image_size // config.patch_size, int(config.has_class_position)
    if grid == (side, side):
        return table
    places = resample_positions(table[:, num_first:], (side, side), grid, config.resampling == "antialiased")
    return torch.cat([table[:, :num_first], places], dim=1)


def _whole_patches(pixels: Float[Tensor, "B 3 H W"], patch_size: int) -> Float[Tensor, "B 3 h w"]:
    height, width = (max(1, round(side / patch_size)) * patch_size for side in pixels.shape[2:])
    if (height, width) == tuple(pixels.shape[2:]):
        return pixels
    return F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
