"""How well texts go with images: the three jobs of CLIP are one comparison (Radford et al. 2021, arXiv 2103.00020)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from beholder.data.decode import Limits
from beholder.tasks.embed import ImageInput
from beholder.tasks.shared_space import SharedSpace
from beholder.types import Answer, UserError

PROMPTS = (
    "a photo of a {}.",
    "a bad photo of a {}.",
    "a close-up photo of a {}.",
    "a photo of the large {}.",
    "a photo of the small {}.",
    "a drawing of a {}.",
    "itap of a {}.",
    "a {} in a video game.",
)
"""A name is asked for in several ways and their points averaged, which is worth some points of accuracy."""


def similarity(
    space: SharedSpace, images: Iterable[ImageInput], texts: Sequence[str], limits: Limits | None = None
) -> Iterator[Answer]:
    """One answer an image: the text that goes best with it as `label`, their cosine (-1 to 1) as `score`.

    `details` has "similarities" (cosines) and "probabilities" of all texts: of one against the others, or of each by
    itself where the model was trained so (SigLIP). Raises UserError for no texts, or ones that cannot be read.
    """
    return _compare(space, images, list(texts), space.place_texts(texts), limits, is_probability=False)


def classify_by_name(
    space: SharedSpace,
    images: Iterable[ImageInput],
    names: Sequence[str],
    prompts: Sequence[str] = PROMPTS,
    limits: Limits | None = None,
) -> Iterator[Answer]:
    """One answer an image: the name of its class as `label`, its probability as `score`, without any training.

    Raises UserError for fewer than two names, a name that comes twice, or a prompt without {} for the name.
    """
    listed = [name.strip() for name in names]
    if len(listed) < 2:
        told = {"": "No class name"}.get("".join(listed), "One class name")
        raise UserError(f"{told} leaves nothing to tell apart; give at least two, such as cat,dog.")
    if not all(listed):
        raise UserError(f"Class name {listed.index('') + 1} is empty; give a word between the commas.")
    twice = next((name for name in listed if listed.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"The class name {twice!r} is given twice; give each once.")
    return _compare(space, images, listed, place_names(space, listed, prompts), limits, is_probability=True)


def place_names(space: SharedSpace, names: Sequence[str], prompts: Sequence[str] = PROMPTS) -> Float[Tensor, "Q C"]:
    """The mean of what the prompts say of each name, of length 1. Raises UserError for a prompt without {}."""
    wrong = next((prompt for prompt in prompts if "{}" not in prompt), None)
    if wrong is not None or not prompts:
        raise UserError(f"The prompt {wrong or ''!r} has no {{}} for the name; write one such as 'a photo of a {{}}.'.")
    empty = next((number for number, name in enumerate(names, start=1) if not name), None)
    if empty is not None:
        raise UserError(f"Class name {empty} is empty; give a word.")
    texts = [prompt.replace("{}", name) for name in names for prompt in prompts]
    return F.normalize(space.place_texts(texts).unflatten(0, (len(names), -1)).mean(1), dim=1)


def _compare(
    space: SharedSpace,
    images: Iterable[ImageInput],
    names: list[str],
    points: Tensor,
    limits: Limits | None,
    *,
    is_probability: bool,
) -> Iterator[Answer]:
    for placed in space.place_images(images, limits):
        if placed.point is None:
            yield Answer(placed.key, refused=placed.refused)
            continue
        cosines = (placed.point @ points.T).tolist()
        shares = space.probabilities(placed.point[None], points)[0].tolist()
        best = int(torch.tensor(cosines).argmax())
        details = {
            "similarities": dict(zip(names, cosines, strict=True)),
            "probabilities": dict(zip(names, shares, strict=True)),
        }
        yield Answer(placed.key, names[best], (shares if is_probability else cosines)[best], details)
