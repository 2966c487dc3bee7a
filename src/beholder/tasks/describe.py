"""An image in words: for now by ranking descriptions that the user gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from beholder.data.decode import Limits
from beholder.tasks.embed import ImageInput
from beholder.tasks.shared_space import SharedSpace
from beholder.tasks.similarity import similarity
from beholder.types import Answer, UserError

NUM_TOLD = 5


def rank_descriptions(
    space: SharedSpace,
    images: Iterable[ImageInput],
    candidates: Sequence[str],
    count: int = NUM_TOLD,
    limits: Limits | None = None,
) -> Iterator[Answer]:
    """One answer an image: the best of the candidates as `label`, its cosine as `score`, the best `count` of them, best
    first, in `details["ranking"]` as {"text", "similarity", "probability"}.

    Raises UserError for no candidates, ones that cannot be read, or a count below one.
    """
    if count < 1:
        raise UserError(f"--count {count}: at least one description is told; give a larger number.")
    listed = list(dict.fromkeys(candidates))
    for answer in similarity(space, images, listed, limits):
        if answer.refused is not None:
            yield answer
            continue
        cosines, shares = answer.details["similarities"], answer.details["probabilities"]
        best = sorted(listed, key=lambda text: -cosines[text])[:count]
        ranking = [{"text": text, "similarity": cosines[text], "probability": shares[text]} for text in best]
        yield Answer(answer.key, answer.label, answer.score, {"ranking": ranking})
