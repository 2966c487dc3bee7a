"""How captions compare with what people said of the same images, by the field's scores.

CIDEr-D (Vedantam et al. 2015, arXiv 1411.5726), BLEU-4 (Papineni et al. 2002) and ROUGE-L (Lin 2004) are
pycocoevalcap's, chrF (Popović 2015) is sacrebleu's. Texts are compared as words in lower case without punctuation,
signs of scripts without spaces one by one: the Java tokenizer that COCO's server uses is not needed.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from beholder.runtime.words import words_of
from beholder.types import UserError


@dataclass(frozen=True)
class CaptionScores:
    """Of a set, and of each caption where a score has such."""

    cider: float
    """0 to 10; 1 and more is what people reach on each other's photos."""
    bleu4: float
    """0 to 1, of the whole set."""
    rouge_l: float
    """0 to 1."""
    chrf: float
    """0 to 100, of the whole set."""
    cider_of: Float[np.ndarray, " n"]
    rouge_l_of: Float[np.ndarray, " n"]

    def told(self) -> dict[str, float]:
        """Those of the set, JSON values."""
        return {"cider": self.cider, "bleu4": self.bleu4, "rouge_l": self.rouge_l, "chrf": self.chrf}


def score_captions(captions: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """Each caption against what people said of its image. How rare words are is counted over these references, so that
    CIDEr compares only within one set.

    Raises UserError for an image without a reference with a word, and where the extra `metrics` is not installed.
    """
    assert len(captions) == len(references), (len(captions), len(references))
    said = [" ".join(words_of(caption)) for caption in captions]
    known = [[text for text in (" ".join(words_of(one)) for one in listed) if text] for listed in references]
    silent = next((number for number, listed in enumerate(known, start=1) if not listed), None)
    if silent is not None:
        raise UserError(f"Image {silent} has no reference with a word in it; give each at least one.")
    results = dict(enumerate([text] for text in said))
    truths = dict(enumerate(known))
    cider, cider_of = _coco("cider", "Cider")().compute_score(truths, results)
    rouge, rouge_of = _coco("rouge", "Rouge")().compute_score(truths, results)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints
        bleu, _ = _coco("bleu", "Bleu")(4).compute_score(truths, results, verbose=0)
    chrf = _library("sacrebleu").CHRF()
    most = max(map(len, known))
    streams = [[listed[at] if at < len(listed) else None for listed in known] for at in range(most)]
    return CaptionScores(
        float(cider), float(bleu[3]), float(rouge), float(chrf.corpus_score(said, streams).score), np.array(cider_of),
        np.array(rouge_of),
    )  # fmt: skip


def fluency(captions: Sequence[str], num_words: int = 2) -> dict[str, float]:
    """`distinct`: how many pairs of neighbouring words are there among all, which tells whether a model says the same
    of everything (Li et al. 2016, arXiv 1510.03055); `words`: the mean length; `different`: the share of captions that
    stand alone."""
    split = [words_of(caption) for caption in captions]
    runs = [tuple(one[at : at + num_words]) for one in split for at in range(len(one) - num_words + 1)]
    return {
        "distinct": len(set(runs)) / len(runs) if runs else 0.0,
        "words": float(np.mean([len(one) for one in split])) if split else 0.0,
        "different": len(set(map(tuple, split))) / len(split) if split else 0.0,
    }


def answer_accuracy(answers: Sequence[str], references: Sequence[Sequence[str]]) -> Float[np.ndarray, " n"]:
    """VQA's accuracy of each answer (Antol et al. 2015, arXiv 1505.00468): with ten references a third for each that is
    equal, at most 1; with fewer than three, whether it is equal to one."""
    pairs = zip(answers, references, strict=True)
    return np.array([_accuracy(plain(one), [plain(text) for text in listed]) for one, listed in pairs])


def plain(answer: str) -> str:
    """An answer as it is compared: lower case, without articles, punctuation, underscores."""
    return " ".join(word for word in words_of(answer.replace("_", " ")) if word not in ("a", "an", "the"))


def _accuracy(answer: str, references: Sequence[str]) -> float:
    equal = sum(answer == one for one in references)
    return min(1.0, equal / 3) if len(references) >= 3 else float(equal > 0)


def need_libraries() -> None:
    """Raises UserError where scores of captions could not be counted."""
    for name in ("pycocoevalcap", "sacrebleu"):
        _library(name)


def _coco(module: str, name: str) -> Any:
    return getattr(_library(f"pycocoevalcap.{module}.{module}"), name)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"Scores of captions need {name.partition('.')[0]}; install it with: pip install 'beholder[metrics]'"
        ) from error
