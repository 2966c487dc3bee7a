"""The one list of backbone families: name -> (configuration, module, presets)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from torch import Tensor, nn

from beholder.config import from_json, to_json
from beholder.models import conv, vit
from beholder.types import Outputs, UserError


class Backbone(Protocol):
    """What every vision backbone offers; all are torch modules."""

    config: Any

    @property
    def map_widths(self) -> tuple[int, ...]: ...

    @property
    def map_strides(self) -> tuple[int, ...]: ...

    @property
    def summary_width(self) -> int: ...

    def __call__(self, pixels: Tensor) -> Outputs: ...


@dataclass(frozen=True)
class Family:
    """One family of backbones."""

    config: type
    module: type[nn.Module]
    presets: Mapping[str, Any]


FAMILIES: dict[str, Family] = {
    "efficientnet-lite": Family(conv.EfficientNetLiteConfig, conv.EfficientNetLite, conv.PRESETS),
    "vit": Family(vit.ViTConfig, vit.ViT, vit.PRESETS),
}


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone as it stands in `config.json`."""

    family: str
    config: dict[str, Any]


def build(spec: BackboneSpec) -> nn.Module:
    """A backbone with fresh weights. Raises UserError for an unknown family."""
    if spec.family not in FAMILIES:
        raise UserError(f"{spec.family!r} is not a model family; known are {', '.join(FAMILIES)}.")
    family = FAMILIES[spec.family]
    return family.module(from_json(family.config, spec.config))


def specify(backbone: nn.Module) -> BackboneSpec:
    """What `build` needs to make this backbone again."""
    for name, family in FAMILIES.items():
        if type(backbone) is family.module:
            return BackboneSpec(name, to_json(cast(Backbone, backbone).config))
    raise AssertionError(f"{type(backbone).__name__} is not in FAMILIES")
