"""The student: one backbone, whose descriptor a map in closed form takes to where the teacher's embeddings lie."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from beholder.models.domain import DomainConfig, DomainModel
from beholder.models.embedder import EmbedderConfig, Projection
from beholder.models.families import specify
from beholder.models.heads import describe
from beholder.objectives.distillation import Distillation
from beholder.pretrained.bundle import Bundle
from beholder.recipes.distil.views import Views
from beholder.runtime.device import Device
from beholder.tokenizers.pixels import PixelConfig, normalise
from beholder.train.closed_form import Affine, decompose, ridge

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Penalties that are tried; standardised descriptors have thousands of values that say much the same."""
_AT_ONCE = 64


class StudentNetwork(nn.Module):
    """Pixels of one size to the teacher's embeddings; the backbone learns, the map is given."""

    def __init__(self, backbone: nn.Module, projection: Projection) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = projection

    def forward(self, pixels: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B D"]:
        return self.projection(self.describe(pixels))

    def describe(self, pixels: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B F"]:
        return describe(self.backbone(pixels))


@dataclass(frozen=True)
class Mapped:
    """The best map for a backbone as it is, and its loss on pictures that chose it."""

    projection: Projection
    loss: float


def fit_map(
    student: StudentNetwork, learned: Views, asked: Views, objective: Distillation, pixels: PixelConfig, device: Device
) -> Mapped:
    """The map of least squares from the descriptors of `learned`, its penalty chosen on `asked`."""
    features, held = (describe_all(student, views.pixels, pixels, device) for views in (learned, asked))
    taken = decompose(features, is_standardised=True)
    judge = copy.deepcopy(objective).cpu()
    best: Mapped | None = None
    for strength in STRENGTHS:
        found = ridge(taken, learned.embeddings, strength)
        with torch.inference_mode():
            loss = float(judge.compare(found(held).float(), asked.embeddings).total)
        if best is None or loss < best.loss:
            best = Mapped(as_projection(found), loss)
    assert best is not None
    return best


@torch.inference_mode()
def describe_all(
    student: StudentNetwork, images: np.ndarray, pixels: PixelConfig, device: Device
) -> Float[Tensor, "n F"]:
    """Descriptors of bytes n 3 S S, on the CPU."""
    student.to(device.torch_device).eval()
    rows = []
    for first in range(0, len(images), _AT_ONCE):
        batch = torch.tensor(images[first : first + _AT_ONCE]).to(device.torch_device)
        with device.autocast():
            rows.append(student.describe(normalise(batch, pixels)).float().cpu())
    return torch.cat(rows)


def as_projection(found: Affine) -> Projection:
    """The same map without a constant: the mean is moved by what gives the constant, which exists since a map of more
    inputs than outputs reaches every point."""
    moved = torch.linalg.lstsq(found.weight, found.bias[:, None], driver="gelsd").solution[:, 0]
    projection = Projection(found.weight.shape[1], len(found.weight))
    projection.load_state_dict(
        {
            "mean": (found.mean - found.scale * moved).float(),
            "scale": found.scale.float(),
            "components": found.weight.float(),
        }
    )
    return projection


def begin(teacher: Bundle, projection: Projection | None = None) -> StudentNetwork:
    """The teacher's last backbone, ready to learn; without a map, with an empty one."""
    backbone = copy.deepcopy(teacher.model.embedder.backbones[-1]).requires_grad_(True)
    return StudentNetwork(backbone, projection or Projection(1, 1))


def build_student(teacher: Bundle, network: StudentNetwork, side: int, card: str) -> Bundle:
    """A model folder's content: the student's backbone and map, the teacher's head, and its levels of the usual as they
    are, see `move_levels`."""
    config = teacher.model.config
    embedder = EmbedderConfig((specify(network.backbone),), (side,), config.embedder.width)
    model = DomainModel(DomainConfig(embedder, config.head, config.num_usual_levels))
    model.embedder.backbones[0].load_state_dict(network.backbone.state_dict())
    model.embedder.projection.load_state_dict(network.projection.state_dict())
    for own, theirs in ((model.head, teacher.model.head), (model.usual, teacher.model.usual)):
        if own is not None and theirs is not None:
            own.load_state_dict(theirs.state_dict())
    return replace(teacher, model=model.eval().requires_grad_(False), card=card)


@torch.inference_mode()
def move_levels(student: Bundle, said: Float[Tensor, "n D"], right: Float[Tensor, "n D"]) -> None:
    """The levels of the usual as the student measures distance: embeddings from a map of least squares lie closer
    together than the teacher's, so that the line that takes the teacher's distances to the student's takes the levels
    along."""
    usual = student.model.usual
    assert usual is not None
    theirs, ours = usual(right).double(), usual(said).double()
    slope = ((theirs - theirs.mean()) * (ours - ours.mean())).sum() / (theirs - theirs.mean()).square().sum()
    slope = slope.clamp_min(1e-3)  # levels stay in order
    usual.levels.copy_((ours.mean() + slope * (usual.levels.double() - theirs.mean())).float())
