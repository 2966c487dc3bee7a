"""Stage: what is said of held-out images, beside what can be said without a model, and without looking."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from beholder.data.conversations import without_marks
from beholder.evaluate.resample import mean_interval
from beholder.metrics.captions import answer_accuracy, fluency, plain, score_captions
from beholder.metrics.things import Things, score_things
from beholder.recipes.describe.look import Seen
from beholder.recipes.describe.material import Asked, Material
from beholder.recipes.describe.settings import DescribeTraining
from beholder.recipes.sitting import Sitting
from beholder.runtime.seed import numpy_generator
from beholder.runtime.words import words_of
from beholder.tasks.saying import Saying
from beholder.tasks.talk import Asking, Talker

MODEL, BLANK, OTHERS = "model", "model, image blanked", "model, another image"
NEAREST, CONSENSUS, ALWAYS = "nearest image's", "best of the 5 nearest images'", "always the same"
QUESTION = "most frequent for the question"
_NUM_NEAR = 5


@dataclass(frozen=True)
class Said:
    """Held-out questions, or images to be described, what is right, and what each said."""

    asked: tuple[Asked, ...]
    references: tuple[tuple[str, ...], ...]
    by: dict[str, list[str]]


def say_all(sitting: Sitting[DescribeTraining], material: Material, seen: Seen, talker: Talker) -> Said:
    """Ask everything of the held-out part, as far as `num_judged` goes: of conversations every turn after the true
    ones."""
    held_out = [turn for one in material.asked["test"] for turn in one.turn_by_turn() if turn.images]
    order = numpy_generator(sitting.seed, "judged").permutation(len(held_out))
    asked = tuple(held_out[place] for place in order[: sitting.settings.num_judged])
    images = seen.shown(asked)
    blank = seen.mean.expand_as(images)
    by = {
        MODEL: _say(sitting, talker, asked, images),
        BLANK: _say(sitting, talker, asked, blank),
        OTHERS: _say(sitting, talker, asked, images.roll(1, 0)),
    }
    known = material.asked["train"]
    if sitting.settings.num_shots:
        by |= _with_examples(sitting, talker, asked, images, known, seen)
    if material.kind == "captions":
        by |= _by_language(asked, known, seen)
    else:
        by |= _by_question(asked, known)
    return Said(asked, tuple(one.last.answers for one in asked), by)


def _with_examples(
    sitting: Sitting[DescribeTraining], talker: Talker, asked: Sequence[Asked], images: Float[torch.Tensor, "B I S C"],
    known: Sequence[Asked], seen: Seen,
) -> dict[str, list[str]]:  # fmt: skip
    """After drawn examples, half as many as were learned with and all of them, and after these with their pictures
    exchanged: only what is lost by that was learned from the examples' pictures."""
    most = sitting.settings.num_shots
    generator = numpy_generator(sitting.seed, "examples")
    drawn = [[known[place] for place in generator.choice(len(known), most, replace=False)] for _ in asked]
    by = {}
    for count in sorted({max(1, most // 2), most}):
        shots = [[(one, one) for one in listed[:count]] for listed in drawn]
        by[f"{MODEL}, {count} examples"] = _say(sitting, talker, asked, images, _before(shots, seen))
    if most > 1:
        shots = [list(zip(listed, [*listed[1:], listed[0]], strict=True)) for listed in drawn]
        by[f"{MODEL}, {most} examples, their pictures exchanged"] = _say(
            sitting, talker, asked, images, _before(shots, seen)
        )
    return by


def _before(
    shots: Sequence[Sequence[tuple[Asked, Asked]]], seen: Seen
) -> list[tuple[Float[torch.Tensor, "J S C"], tuple[tuple[str, str], ...]]]:
    """Of each row, what is seen in the images of the one of each pair, and what is said of the other's."""
    return [
        (
            torch.cat([seen.shown([pictures])[0] for pictures, _ in listed]),
            tuple(turn for _, texts in listed for turn in texts.turns()),
        )
        for listed in shots
    ]


def judge(
    kind: str, questions: Sequence[str], by: Mapping[str, list[str]], references: Sequence[Sequence[str]], seed: int,
    things: Things,
) -> dict[str, Any]:  # fmt: skip
    """Scores of what each said, and by how much the model is ahead of it, with intervals over what was asked; JSON
    values. `kind` is that of the data; "single" are the model's scores one by one. Of captions also which of the
    `things` are named truly and falsely, where references name any.

    Where captions are asked for in several languages, "languages" has the scores of each: which things are named is
    then told of each alone, for a list of things is in one language.
    """
    places_of: dict[str, list[int]] = {}
    for place, question in enumerate(questions if kind == "captions" else ()):
        places_of.setdefault(without_marks(question), []).append(place)
    if len(places_of) < 2:
        return _scores(kind, by, references, seed, things)
    languages = {}
    for language, places in places_of.items():
        texts = {name: [listed[place] for place in places] for name, listed in by.items()}
        judged = _scores(kind, texts, [references[place] for place in places], seed, things)
        languages[language] = {name: value for name, value in judged.items() if name != "single"}
    return {**_scores(kind, by, references, seed, None), "languages": languages}


def _scores(
    kind: str, by: Mapping[str, list[str]], references: Sequence[Sequence[str]], seed: int, things: Things | None
) -> dict[str, Any]:
    generator = numpy_generator(seed, "bootstrap")
    measure = "cider" if kind == "captions" else "accuracy"
    rows: dict[str, dict[str, Any]] = {}
    single: dict[str, Float[np.ndarray, " n"]] = {}
    for name, texts in by.items():
        if measure == "cider":
            scores = score_captions(texts, references)
            named = None if things is None else score_things(texts, references, things)
            told = named.told() if named is not None and named.known.any() else {}
            rows[name], single[name] = {**scores.told(), **fluency(texts), **told}, scores.cider_of
        else:
            single[name] = answer_accuracy(texts, references)
            rows[name] = {"accuracy": float(single[name].mean())}
    for name, row in rows.items():
        if name == MODEL:
            row["interval"] = mean_interval(single[MODEL], generator)
        else:
            gain = single[MODEL] - single[name]
            row["behind"] = {"value": float(gain.mean()), "interval": mean_interval(gain, generator)}
    return {"measure": measure, "num_judged": len(references), "rows": rows, "single": single[MODEL].tolist()}


def worst_first(said: Sequence[Mapping[str, Any]], judged: Mapping[str, Any]) -> str:
    """Everything that was said as JSON lines, each with its score."""
    order = np.argsort(judged["single"], kind="stable").tolist()
    lines = [{**said[place], judged["measure"]: round(judged["single"][place], 4)} for place in order]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _say(
    sitting: Sitting[DescribeTraining], talker: Talker, asked: Sequence[Asked], images: Float[torch.Tensor, "B I S C"],
    before: Sequence[tuple[Float[torch.Tensor, "J S C"], tuple[tuple[str, str], ...]]] = (),
) -> list[str]:  # fmt: skip
    askings = []
    for at, one in enumerate(asked):
        own = images[at, : len(one.images)]
        shown, turns = before[at] if before else (own[:0], ())
        turns = (*turns, *((turn.question, turn.answers[0]) for turn in one.exchanges[:-1]))
        askings.append(Asking(torch.cat([shown, own]), one.last.question, turns))
    with sitting.log.progress("Judge", len(asked)) as advance:
        return talker.say(askings, Saying(sitting.settings.num_beams), advance)


def _by_language(asked: Sequence[Asked], known: Sequence[Asked], seen: Seen) -> dict[str, list[str]]:
    """`_without_a_model`, of what was said in the language that is asked for."""
    by: dict[str, list[str]] = {}
    for question in dict.fromkeys(one.last.question for one in asked):
        places = [place for place, one in enumerate(asked) if one.last.question == question]
        same = [one for one in known if one.last.question == question]
        found = _without_a_model([asked[place] for place in places], same, seen)
        for name, texts in found.items():
            listed = by.setdefault(name, [""] * len(asked))
            for place, text in zip(places, texts, strict=True):
                listed[place] = text
    return by


def _without_a_model(asked: Sequence[Asked], known: Sequence[Asked], seen: Seen) -> dict[str, list[str]]:
    """Captions of the most similar learned images (Devlin et al. 2015, arXiv 1505.04467), and the one that fits all
    images best."""
    points = np.asarray(seen.table[:, 0, 0])
    points = points - points.mean(0)
    points /= np.linalg.norm(points, axis=1, keepdims=True) + 1e-9
    theirs = points[[one.images[0] for one in known]]
    near = np.argsort(-(points[[one.images[0] for one in asked]] @ theirs.T), axis=1)[:, :_NUM_NEAR]
    said_of = [[text for exchange in one.exchanges for text in exchange.answers] for one in known]
    first = [agreed(said_of[row[0]]) for row in near]
    best = [agreed([text for place in row for text in said_of[place]]) for row in near]
    everything = [texts[0] for texts in said_of]
    return {NEAREST: first, CONSENSUS: best, ALWAYS: [agreed(everything)] * len(asked)}


def agreed(texts: Sequence[str]) -> str:
    """The text that has most in common with the others, by words and neighbouring words."""
    bags = [_bag(text) for text in texts]
    total: Counter[tuple[str, ...]] = Counter()
    for bag in bags:
        total.update(bag)
    worth = []
    for bag in bags:
        shared = sum(total[one] - 1 for one in bag)
        worth.append(shared / (len(bag) or 1))
    return texts[int(np.argmax(worth))]


def _bag(text: str) -> set[tuple[str, ...]]:
    listed = words_of(text)
    return {(word,) for word in listed} | set(itertools.pairwise(listed))


def _by_question(asked: Sequence[Asked], known: Sequence[Asked]) -> dict[str, list[str]]:
    """The most frequent answer to the same question, or the most similar one, and that to any."""
    answers: dict[str, Counter[str]] = {}
    overall: Counter[str] = Counter()
    for one in known:
        for exchange in one.exchanges:
            given = exchange.answers[0]
            answers.setdefault(plain(exchange.question), Counter())[given] += 1
            overall[given] += 1
    usual = overall.most_common(1)[0][0]
    bags = {question: set(question.split()) for question in answers}

    def likely(question: str) -> str:
        if question in answers:
            return answers[question].most_common(1)[0][0]
        own = set(question.split())
        alike = max(bags, key=lambda one: (len(own & bags[one]) / len(own | bags[one] or {""}), one))
        return answers[alike].most_common(1)[0][0]

    told = [likely(plain(one.last.question)) for one in asked]
    return {QUESTION: told, ALWAYS: [usual] * len(asked)}
