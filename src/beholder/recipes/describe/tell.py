"""The last stage: results, the model folder with its card, and the report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from beholder.data.conversations import without_marks
from beholder.data.decode import decode
from beholder.evaluate.report_describe import headline, write_describe_report
from beholder.pretrained.describer_folder import save_describer
from beholder.pretrained.embedded import DEFAULT_PAIRS
from beholder.recipes.code_training import costs_of, course
from beholder.recipes.describe.judge import BLANK, MODEL, Said, worst_first
from beholder.recipes.describe.material import Material
from beholder.recipes.describe.parts import OWN
from beholder.recipes.describe.settings import DescribeTraining
from beholder.recipes.results import begin_results, end_run
from beholder.recipes.rows_of_pictures import as_png
from beholder.recipes.sitting import Sitting
from beholder.recipes.spoken import spoken
from beholder.runtime.energy import Cost
from beholder.runtime.files import told_kindly, write_text
from beholder.runtime.log import energy
from beholder.tasks.talk import Talker
from beholder.tokenizers.pixels import PixelConfig, fit
from beholder.train.pace import Timed
from beholder.version import VERSION

_NUM_SHOWN = 12
_SIDE = 160
_SPOKEN = (
    "fusion", "tuning", "vision_tuning", "size", "budget", "language_share", "num_shots", "batch_size", "regions",
)  # fmt: skip
_FUSIONS = {
    "linear": "One linear map puts what is seen among the words",
    "gated": "Gated blocks let the words look at what is seen",
}


@dataclass(frozen=True)
class Finished:
    """What a run has come to."""

    material: Material
    talker: Talker
    has_embedded_vision: bool
    story: Mapping[str, Any]
    judged: Mapping[str, Any]
    said: Said
    timed: Timed


def tell(sitting: Sitting[DescribeTraining], asked: Mapping[str, Any], done: Finished) -> dict[str, Any]:
    """Everything that is written at the end; `results.json` comes last and marks the run as finished."""
    run, settings, log, material = sitting.run, sitting.settings, sitting.log, done.material
    gallery, album = _gallery(sitting, done)
    judged = {key: value for key, value in done.judged.items() if key != "single"}
    results: dict[str, Any] = {
        **begin_results(run, sitting.device, command(sitting, asked), asked["seed"]),
        "data": {**material.facts, "folder": asked["data"]},
        "kind": material.kind,
        "judged": judged,
        "training": {
            "sentence": f"{_FUSIONS[settings.fusion]} ({done.story['parameters']:,} parameters); it learned by "
            "foretelling the next word of what is said.",
            "answers": done.story["answers"],
            **course(run, done.story, "Held out"),
        },
        "gallery": gallery,
        "cost": costs_of(run, {"training": done.timed.seconds}),
        "wall_seconds": sum(run.costs().values(), Cost()).seconds,
    }
    facts = {
        "made_by": f"beholder {VERSION} train describe",
        **{name: asked[name] for name in ("data", "vision", "language", "spoken", "seed")},
        "steps": done.story["steps"],
        "judged": judged,
    }
    with told_kindly(run.path):
        save_describer(
            run.path / "model", done.talker.model.cpu(), done.talker.words, done.talker.pixels,
            has_embedded_vision=done.has_embedded_vision, can=done.talker.can, facts=facts, card=_card(results),
        )  # fmt: skip
        write_text(run.path / "said.jsonl", worst_first(_lines(done), done.judged))
        write_describe_report(results, album, run.path / "report.html")
    end_run(run, log, results, headline(results))
    return results


def command(sitting: Sitting[DescribeTraining], asked: Mapping[str, Any]) -> str:
    """The command line that repeats this run: what was asked for beside the defaults."""
    words = ["beholder", "train", "describe", "--data", asked["data"], "--out", str(sitting.run.path)]
    for name, usual in (("vision", DEFAULT_PAIRS), ("language", OWN), ("spoken", None), ("things", None)):
        if asked[name] != usual:
            words += [f"--{name}", asked[name]]
    words += spoken(sitting.settings, DescribeTraining(), _SPOKEN, always=("fusion", "size", "budget"))
    return shlex.join([*words, "--seed", str(asked["seed"])])


def _lines(done: Finished) -> list[dict[str, Any]]:
    """What was said of each held-out image."""
    said = done.said
    return [
        {
            "images": [done.material.samples[row].key for row in dict.fromkeys(one.images)],
            "question": without_marks(one.last.question) or None,
            "said": said.by[MODEL][place],
            "without_looking": said.by[BLANK][place],
            "right": list(said.references[place]),
        }
        for place, one in enumerate(said.asked)
    ]


def _gallery(sitting: Sitting[DescribeTraining], done: Finished) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """The worst and the best held-out images, and some between: what was said and what is right."""
    order = np.argsort(done.judged["single"], kind="stable")
    third = _NUM_SHOWN // 3
    middle = order[third:-third]
    chosen = [
        *order[:third], *middle[:: max(1, len(middle) // third)][:third], *order[-third:]
    ] if len(order) > _NUM_SHOWN else list(order)  # fmt: skip
    shown, album = [], {}
    how = PixelConfig(size=_SIDE)
    for place in dict.fromkeys(int(one) for one in chosen):
        one = done.said.asked[place]
        name = f"image-{place}"
        picture = decode(done.material.samples[one.images[0]], sitting.limits)
        album[name] = as_png(np.asarray(fit(picture, how), np.uint8))
        shown.append(
            {
                "picture": name,
                "question": without_marks(one.last.question) or None,
                "said": {who: texts[place] for who, texts in done.said.by.items()},
                "right": list(done.said.references[place])[:3],
                "score": done.judged["single"][place],
            }
        )
    return shown, album


def _card(results: Mapping[str, Any]) -> str:
    judged, training = results["judged"], results["training"]
    lines = [f"- {name}: {judged['measure']} {row[judged['measure']]:.3f}" for name, row in judged["rows"].items()]
    return (
        "# Puts images into words\n\n"
        f"{headline(results)}\n\n" + "\n".join(lines) + "\n\n"
        f"On {judged['num_judged']:,} held-out {'images' if results['kind'] == 'captions' else 'questions'} of "
        f"{results['data']['description']}. {training['parameters']:,} parameters, {training['steps']:,} steps of "
        f"{training['answers']:,} answers in all, {energy(results['cost']['total']['joules'])}.\n\n"
        "It says what is likely of images like those that it learned from; of others it says the same. Check what it "
        "says before you rely on it.\n\n"
        f"Trained on {results['data']['folder']} by beholder {VERSION}: `{results['command']}`.\n"
    )
