"""Stage: what the model can do with held-out pictures, beside what costs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from beholder.evaluate.resample import grouped_interval
from beholder.recipes.coded_pictures import CodeTables
from beholder.recipes.lvm.material import Material
from beholder.recipes.lvm.questions import Questions
from beholder.recipes.lvm.settings import LVMTraining
from beholder.recipes.lvm.stream import SentenceStream
from beholder.recipes.sitting import Sitting
from beholder.runtime.seed import numpy_generator
from beholder.tasks.visual_sentences import VisualSentences

_MOST_CLASSES, _PER_CLASS, _SHOTS = 10, 4, 3

Pictures = UInt8[np.ndarray, "q S S 3"]


def judge(
    sitting: Sitting[LVMTraining], questions: Sequence[Questions], stream: SentenceStream, speaker: VisualSentences
) -> dict[str, Any]:
    """By task: the score of completions and of what they are compared with, and what examples are worth."""
    told: dict[str, Any] = {}
    names, material, tables = [one.task for one in questions], stream.material, stream.tables
    with sitting.log.progress("Judge", len(names) + 1) as advance:
        for one in questions:
            others = [name for name in names if name != one.task and serves(material, one, name)]
            groups = material.collection.groups[one.asked]
            is_left_out = one.task in material.left_out
            told[one.task] = judge_task(one, groups, tables, speaker, others, is_left_out, sitting.seed)
            advance()
        classes = judge_classes(material, tables, speaker, sitting.seed)
        advance()
    return {"tasks": told, "classes": classes}


def serves(material: Material, questions: Questions, task: str) -> bool:
    """Whether the examples of the questions can show that task too."""
    return bool(np.isin(questions.examples, material.places(False, task)).all())


def judge_task(
    questions: Questions,
    groups: Int[np.ndarray, " q"],
    tables: CodeTables,
    speaker: VisualSentences,
    others: list[str],
    is_left_out: bool,
    seed: int,
) -> dict[str, Any]:
    """One task's results, JSON values; `groups` tells which questions err together."""
    task, most = questions.task, questions.examples.shape[1]
    truth = questions.pictures(tables, questions.asked, 1)
    answers = questions.answers(tables)

    def nats(prompt: np.ndarray) -> np.ndarray:
        return speaker.surprise(np.concatenate([prompt, answers[:, None]], axis=1))[:, -1]

    def painted(prompt: np.ndarray) -> Pictures:
        return speaker.pictures.decode(speaker.answer(prompt))

    prompts = {count: questions.prompt(tables, count) for count in range(most + 1)}
    right = {count: nats(prompt) for count, prompt in prompts.items()}
    misled = {"shuffled": questions.prompt(tables, most, is_shuffled=True)} if most > 1 else {}
    if others:
        misled["other task"] = questions.prompt(tables, most, task=others[0])
    wrong = {name: nats(prompt) for name, prompt in misled.items()}
    by_count = {count: score(task, painted(prompts[count]), truth) for count in range(1, most + 1)}
    ours = by_count[most]

    def copied(places: np.ndarray, side: int) -> Pictures:
        """As the tokenizer paints it, so that rivals have no better pixels; masks as they are, which is harder."""
        if task == "masks":
            return questions.pictures(tables, places, side)
        return speaker.pictures.decode(questions.told(tables, places, side))

    rivals = {
        "copying the example": copied(questions.examples[:, most - 1], 1),
        "answer of the nearest picture": copied(questions.nearest[:, 0], 1),
    }
    if task != "masks":
        rivals["the question itself"] = copied(questions.asked, 0)
    scored = {name: score(task, pictures, truth) for name, pictures in rivals.items()}
    near = score(task, painted(questions.with_nearest().prompt(tables, most)), truth)
    ceiling = score(task, speaker.pictures.decode(answers), truth)
    generator = numpy_generator(seed, "bootstrap", task)
    return {
        "is_left_out": is_left_out,
        "metric": "IoU" if task == "masks" else "PSNR (dB)",
        "num_questions": len(questions.asked),
        "score": _mean(ours),
        "interval": grouped_interval(ours, groups, generator),
        "rivals": {
            name: {
                "score": _mean(values),
                "gain": _mean(ours - values),
                "interval": grouped_interval(ours - values, groups, generator),
            }
            for name, values in scored.items()
        },
        "tokenizer": _mean(ceiling),
        "nearest_examples": {
            "score": _mean(near),
            "gain": _mean(near - ours),
            "interval": grouped_interval(near - ours, groups, generator),
        },
        "scores_by_examples": {str(count): _mean(values) for count, values in by_count.items()},
        "nats_by_examples": {str(count): _mean(values) for count, values in right.items()},
        "misled": {
            name: {
                "nats": _mean(values),
                "harm": _mean(values - right[most]),
                "interval": grouped_interval(values - right[most], groups, generator),
                "score": _mean(score(task, painted(misled[name]), truth)),
            }
            for name, values in wrong.items()
        },
    }


def score(task: str, pictures: Pictures, truth: Pictures) -> Float[np.ndarray, " q"]:
    """Intersection over union of masks; of other tasks the peak signal-to-noise ratio in decibels."""
    if task == "masks":
        found, wanted = pictures.mean(3) > 127, truth.mean(3) > 127
        union = (found | wanted).sum((1, 2))
        return np.where(union > 0, (found & wanted).sum((1, 2)) / np.maximum(union, 1), 1.0)
    error = np.square(pictures.astype(np.float64) - truth.astype(np.float64)).mean((1, 2, 3))
    return 10 * np.log10(255.0**2 / np.maximum(error, 1e-2))


def judge_classes(
    material: Material, tables: CodeTables, speaker: VisualSentences, seed: int
) -> Mapping[str, Any] | None:
    """Few-shot classes by likelihood: a held-out picture after three examples of each class, for at most ten classes;
    None where no class is large enough."""
    if len(material.classes) < 2:
        return None
    generator = numpy_generator(seed, "classes")
    names = sorted(material.classes)
    names = sorted(generator.choice(names, min(_MOST_CLASSES, len(names)), replace=False).tolist())
    shots = min(_SHOTS, speaker.num_pictures - 1)
    held = material.places(True)
    right = asked = 0
    for number, name in enumerate(names):
        own = [place for place in held if material.samples[place].label == name]
        for place in own[:_PER_CLASS]:
            rows = [
                [*generator.choice(material.classes[other], shots, replace=False).tolist(), place] for other in names
            ]
            codes = np.stack([np.stack([tables.plain(one, 0) for one in row]) for row in rows])
            right += int(speaker.surprise(codes)[:, -1].argmin()) == number
            asked += 1
    if not asked:
        return None
    return {"accuracy": right / asked, "chance": 1 / len(names), "num_questions": asked, "examples": shots}


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values))
