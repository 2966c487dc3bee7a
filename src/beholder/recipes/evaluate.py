"""`evaluate`: a model's captions or answers on one's own images, by the field's scores, and whether it looks.

beholder evaluate runs/describe --data mine.jsonl --out said.jsonl
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from beholder.data.conversations import MARK, without_marks
from beholder.data.decode import Limits, Unreadable, decode
from beholder.data.dialogues import Dialogue, languages_of, read_dialogues
from beholder.data.listing import Refused
from beholder.metrics.captions import need_libraries
from beholder.metrics.things import Things, read_things
from beholder.pretrained.embedded import DEFAULT_PAIRS
from beholder.pretrained.load import load
from beholder.recipes.describe.judge import BLANK, MODEL, judge, worst_first
from beholder.runtime.device import Device, pick_device
from beholder.runtime.files import told_kindly, write_text
from beholder.runtime.log import Log, counted
from beholder.tasks.saying import Saying
from beholder.tasks.shared_space import SharedSpace, open_space
from beholder.tasks.talk import Asking, Talker, open_talker
from beholder.types import Sample, UserError

_AT_ONCE = 16
_CLIP_WEIGHT = 2.5
"""Of a cosine in CLIPScore (Hessel et al. 2021, arXiv 2104.08718)."""


@dataclass(frozen=True)
class _Case:
    """One thing that is asked, and what is right."""

    images: tuple[str, ...]
    asking: Asking
    right: tuple[str, ...]


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    out: str | Path | None = None,
    spoken: str | None = None,
    things: str | Path | None = None,
    beams: int = 3,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    log: Log | None = None,
) -> dict[str, Any]:
    """Let a model of `train_describe` speak of the images of `data` (as `read_dialogues` reads them), and score what it
    says: captions by CIDEr, BLEU-4, ROUGE-L, chrF, by which of the `things` they name truly and falsely (a file, as
    `read_things` reads it) and, with the extra `text`, by CLIPScore of the embedded model; answers by whether they are
    right. Beside it stands the same model before a blank: what it says without looking.

    `out` is a file of JSON lines for all that was said, the worst first. In conversations each turn follows the true
    ones. Raises UserError for a model that cannot do what the data ask for, and for data without a readable image.
    """
    if out is not None and Path(out).exists():
        raise UserError(f"--out {out} is there already; name a new file.")
    known = read_things(None if things is None else Path(things))
    log, picked, limits = log or Log(quiet=True), pick_device(device, threads), Limits(max_pixels=max_pixels)
    found = read_dialogues(Path(data), spoken)
    log.stage("Read", found.source.description)
    saying = Saying(beams)
    ability = "describe" if found.kind == "captions" else "answer"
    if ability == "describe":
        need_libraries()
    log.stage("Open", f"{model}, which takes some seconds")
    talker = open_talker(load(model), picked, ability)
    asks = _request(talker, spoken) if ability == "describe" else None
    space = _space(picked) if ability == "describe" else None
    refused = list(found.source.refused)
    samples = {sample.key: sample for sample in found.source.samples}
    cases: list[_Case] = []
    by: dict[str, list[str]] = {MODEL: [], BLANK: []}
    clip: list[Float[np.ndarray, " n"]] = []
    with log.progress("Ask", len(found.dialogues)) as advance:
        for dialogues in _batches(found.dialogues):
            some, pictures = _cases(talker, dialogues, asks, samples, limits, refused)
            said = talker.say([one.asking for one in some], saying)
            by[MODEL] += said
            by[BLANK] += talker.say([_blanked(talker, one.asking) for one in some], saying)
            if space is not None and some:
                clip.append(_clip_scores(space, pictures, said))
            cases += some
            advance(len(dialogues))
    for one in refused:
        log.warn(f"{one.key} is left out: {one.reason}")
    if not cases:
        raise UserError(f"{data}: none of {len(found.dialogues):,} images could be read; the reasons stand above.")
    _warn_of_other_words(by[MODEL], cases, log)
    judged = _judge(found.kind, cases, by, known, np.concatenate(clip) if clip else None)
    if out is not None:
        with told_kindly(Path(out)):
            write_text(Path(out), worst_first(_lines(cases, by, ability == "describe"), judged))
    log.stage("Asked", f"{counted(len(cases), 'image' if ability == 'describe' else 'question')}")
    told = {name: value for name, value in judged.items() if name != "single"}
    return {"model": str(model), "data": str(data), "num_refused": len(refused), **told}


def _request(talker: Talker, spoken: str | None) -> str | None:
    """What asks for a caption, in the language of the data where the model speaks several; None where the data ask in
    several. Raises UserError for a language that it does not speak."""
    asked = languages_of(spoken)
    if len(talker.languages) < 2:
        if len(asked) > 1:
            raise UserError(f"--spoken {spoken}: this model was trained in one language; name that of its captions.")
        return talker.request()
    unknown = [one for one in asked if one not in talker.languages]
    if unknown:
        known = " and ".join(talker.languages)
        raise UserError(f"--spoken {spoken}: this model speaks {known}, and not {' and '.join(unknown)}.")
    return None if len(asked) > 1 else talker.request(asked[0] if asked else None)


def _judge(
    kind: str, cases: Sequence[_Case], by: dict[str, list[str]], things: Things, clip: Float[np.ndarray, " n"] | None
) -> dict[str, Any]:
    """The scores; CLIPScore, whose model reads English, of each language alone where there are several."""
    questions = [one.asking.question for one in cases]
    judged = judge(kind, questions, by, [one.right for one in cases], 0, things)
    if clip is None:
        return judged
    if "languages" not in judged:
        judged["rows"][MODEL]["clip_score"] = float(clip.mean())
    for language, told in judged.get("languages", {}).items():
        of_it = [place for place, question in enumerate(questions) if without_marks(question) == language]
        told["rows"][MODEL]["clip_score"] = float(clip[of_it].mean())
    return judged


def _warn_of_other_words(said: Sequence[str], cases: Sequence[_Case], log: Log) -> None:
    words = {word for text in said for word in text.lower().split()}
    right = {word for one in cases for text in one.right for word in text.lower().split()}
    if not words & right:
        log.warn("not one word that was said is in what is right; does the model speak the language of these data?")


def _batches(dialogues: Sequence[Dialogue]) -> Iterator[Sequence[Dialogue]]:
    for first in range(0, len(dialogues), _AT_ONCE):
        yield dialogues[first : first + _AT_ONCE]


def _cases(
    talker: Talker, dialogues: Sequence[Dialogue], asks: str | None, samples: dict[str, Sample], limits: Limits,
    refused: list[Refused],
) -> tuple[list[_Case], list[np.ndarray]]:  # fmt: skip
    """What is asked of dialogues whose images can be read, and the first image of each case; others are `refused`.
    `asks` stands for a question that has no words."""
    cases, pictures = [], []
    for dialogue in dialogues:
        try:
            images = [decode(samples[key], limits) for key in dialogue.images]
        except Unreadable as error:
            refused.append(Refused(dialogue.images[0], error.reason))
            continue
        seen = talker.see(images)
        before: list[tuple[str, str]] = []
        for exchange in dialogue.exchanges:
            shown = sum(question.count(MARK) for question, _ in before) + exchange.question.count(MARK)
            question = asks if asks is not None and exchange.question == MARK else exchange.question
            asking = Asking(seen[:shown], question, tuple(before))
            cases.append(_Case(dialogue.images, asking, exchange.answers))
            pictures.append(images[0])
            if dialogue.is_row:
                before.append((exchange.question, exchange.answers[0]))
    return cases, pictures


def _blanked(talker: Talker, asking: Asking) -> Asking:
    """The same before the mean of what the model learned from."""
    return replace(asking, seen=talker.model.speaker.seen_mean.cpu().expand_as(asking.seen))


def _space(device: Device) -> SharedSpace | None:
    """What scores whether a caption goes with its image; None where its texts are not installed."""
    try:
        return open_space(load(DEFAULT_PAIRS), device)
    except UserError:
        return None


def _clip_scores(space: SharedSpace, pictures: Sequence[np.ndarray], texts: Sequence[str]) -> Float[np.ndarray, " n"]:
    points = space.place_arrays(pictures)
    words = space.place_texts([text or "nothing" for text in texts])
    return _CLIP_WEIGHT * (points * words).sum(1).clamp_min(0).numpy()


def _lines(cases: Sequence[_Case], by: dict[str, list[str]], is_caption: bool) -> list[dict[str, Any]]:
    """What was said to each; what asks for a caption is a language, or nothing."""
    return [
        {
            "images": list(one.images),
            ("language" if is_caption else "question"): without_marks(one.asking.question) or None,
            "said": said,
            "without_looking": blank,
            "right": list(one.right),
        }
        for one, said, blank in zip(cases, by[MODEL], by[BLANK], strict=True)
    ]
