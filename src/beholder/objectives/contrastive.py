"""Pictures and their texts side by side in one space: CLIP's softmax and SigLIP's sigmoid, also where several pictures
share a text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from beholder.types import Batch, Losses


@dataclass(frozen=True)
class ContrastiveConfig:
    """Which loss, and how much of a batch is held in memory."""

    kind: Literal["softmax", "sigmoid"] = "softmax"
    """softmax: which of the batch's texts belongs to the picture, and the reverse (Radford et al. 2021, arXiv
    2103.00020). sigmoid: does this text belong to this picture, for every pair by itself (Zhai et al. 2023, arXiv
    2303.15343)."""
    chunk_size: int | None = None
    """Examples whose activations are in memory at once; None: the whole batch. Smaller costs a second forward pass and
    changes no gradient (Gao et al. 2021, arXiv 2101.06983)."""


class Contrastive(nn.Module):
    """Objective over batches with "pixels" (B 3 H W), "tokens" (B T) and, unless padding is read, "is_real" (B T).

    With "text_of" (B, whole numbers) the texts are distinct ones, any number of them, and "text_of" is the row of each
    picture's: pictures with one text are then no strangers to each other. A text may have no picture in the batch; it
    is a wrong answer for all of them. The model offers `encode_images`, `encode_texts` (rows of unit length),
    `logit_scale` (a logarithm), and for the sigmoid `logit_bias`.
    """

    def __init__(self, config: ContrastiveConfig = ContrastiveConfig()) -> None:
        super().__init__()
        self.config = config

    def forward(self, model: Any, batch: Batch) -> Losses:
        """Part: "accuracy", the share of pictures whose own text is nearest."""
        images = self._in_chunks(model.encode_images, batch["pixels"])
        words = [batch[name] for name in ("tokens", "is_real") if name in batch]
        texts = self._in_chunks(model.encode_texts, *words)
        scores = model.logit_scale.exp() * images @ texts.T  # B B, or B Q with "text_of"
        own = batch.get("text_of", torch.arange(len(scores), device=scores.device))
        if self.config.kind == "sigmoid":
            loss = _sigmoid(scores + model.logit_bias, own)
        else:
            loss = _shared_softmax(scores, own) if "text_of" in batch else _softmax(scores)
        return Losses(loss, {"accuracy": float((scores.argmax(1) == own).float().mean())})

    def after_step(self, model: Any, progress: float) -> None:
        """The scale, where it is trained, stays at 100 or below, or training blows up (Radford et al. 2021)."""
        if not model.logit_scale.requires_grad:
            return
        with torch.no_grad():
            model.logit_scale.clamp_(max=4.6052)

    def _in_chunks(self, encode: Callable[..., Tensor], *inputs: Tensor) -> Float[Tensor, "B D"]:
        size = self.config.chunk_size
        if size is None or size >= len(inputs[0]) or not torch.is_grad_enabled():
            return encode(*inputs)
        parts = zip(*(one.split(size) for one in inputs), strict=True)
        return torch.cat([checkpoint(encode, *part, use_reentrant=False) for part in parts])


def _softmax(scores: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
    own = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


def _shared_softmax(scores: Float[Tensor, "B Q"], own: Int[Tensor, " B"]) -> Float[Tensor, ""]:
    """From texts to pictures all of a text's pictures are equally right (Khosla et al. 2020, arXiv 2004.11362); what
    equal shares leave open whatever the model says is taken off, so that 0 is perfect."""
    is_own = F.one_hot(own, scores.shape[1]).T  # Q B
    is_own, scores_of_texts = is_own[is_own.any(1)], scores.T[is_own.any(1)]
    num_pictures = is_own.sum(1, keepdim=True)
    to_pictures = F.cross_entropy(scores_of_texts, is_own / num_pictures) - num_pictures.log().mean()
    return (F.cross_entropy(scores, own) + to_pictures) / 2


def _sigmoid(scores: Float[Tensor, "B Q"], own: Int[Tensor, " B"]) -> Float[Tensor, ""]:
    signs = 2 * F.one_hot(own, scores.shape[1]) - 1
    return -F.logsigmoid(signs * scores).sum() / len(scores)
