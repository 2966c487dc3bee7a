"""The last stage: results, the model folder with its card, and the report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from beholder.evaluate.report_drawing import headline, write_drawing_report
from beholder.models.dalle import TextToImage
from beholder.pretrained.part_folder import TEXT_TO_IMAGE, Part, save_part
from beholder.recipes.code_training import costs_of, course
from beholder.recipes.coded_pictures import PLAIN, CodeTables
from beholder.recipes.results import begin_results, end_run
from beholder.recipes.rows_of_pictures import as_png
from beholder.recipes.sitting import Sitting
from beholder.recipes.spoken import spoken
from beholder.recipes.text_to_image.fit import CONFUSION
from beholder.recipes.text_to_image.judge import Asked
from beholder.recipes.text_to_image.material import Material
from beholder.recipes.text_to_image.reranker import save_reranker
from beholder.recipes.text_to_image.settings import TextToImageTraining
from beholder.runtime.energy import Cost
from beholder.runtime.files import told_kindly
from beholder.runtime.log import energy
from beholder.tasks.provenance import describe_origin, encode_picture
from beholder.tasks.rerank import RERANKER
from beholder.tasks.shared_space import SharedSpace
from beholder.train.pace import Timed
from beholder.version import VERSION

_NUM_SHOWN = 16
_SPOKEN = ("group", "form", "size", "budget", "batch_size", "guidance")
_FORMS = {
    "causal": "One trunk over captions and pictures",
    "encoder-decoder": "A trunk that reads captions and one that writes pictures",
}
_CHOOSES = {
    False: "chooses among what is drawn",
    True: "is not asked, because it chose worse than taking the first when the run was judged",
}
"""Of a reranker, by whether it harms."""


@dataclass(frozen=True)
class Finished:
    """What a run has come to."""

    material: Material
    tables: CodeTables
    codec: Part
    model: TextToImage
    story: Mapping[str, Any]
    reranker: tuple[SharedSpace, Mapping[str, Any]] | None
    judged: Mapping[str, Any]
    asked: Asked
    timed: Timed


def tell(sitting: Sitting[TextToImageTraining], asked: Mapping[str, Any], done: Finished) -> dict[str, Any]:
    """Everything that is written at the end; `results.json` comes last and marks the run as finished."""
    run, settings, log, material = sitting.run, sitting.settings, sitting.log, done.material
    total = sum(run.costs().values(), Cost())
    gallery, album = _gallery(sitting, done)
    results: dict[str, Any] = {
        **begin_results(run, sitting.device, command(sitting, asked), asked["seed"]),
        "data": {
            **material.collection.facts,
            "folder": asked["data"],
            "notes": [*material.collection.notes, *_notes(material)],
        },
        "captions": {
            "num_different": len(set(material.texts)),
            "num_words": len(material.captions.words),
            "num_tokens": material.captions.num_tokens,
            "longest": material.captions.longest,
        },
        "judged": done.judged,
        "training": {
            "backbone": f"{_FORMS[settings.form]} ({settings.size}, {done.story['parameters']:,} parameters)",
            "objective": "foretelling the picture's next code"
            + (", and the caption's next token" if settings.form == "causal" else ""),
            "pairs": done.story["pairs"],
            **course(run, done.story, "Nats a code", CONFUSION),
        },
        "reranker": dict(done.reranker[1]) if done.reranker else None,
        "gallery": gallery,
        "cost": costs_of(run, {"training": done.timed.seconds}),
        "wall_seconds": total.seconds,
    }
    facts = {
        "made_by": f"beholder {VERSION} train text-to-image",
        "data": asked["data"],
        "steps": done.story["steps"],
        "seed": asked["seed"],
        "reranker": results["reranker"],
        "judged": done.judged,
    }
    with told_kindly(run.path):
        if done.reranker:
            (run.path / "model").mkdir(exist_ok=True)
            save_reranker(done.reranker[0], run.path / "model" / RERANKER)
        save_part(
            run.path / "model", TEXT_TO_IMAGE, done.model.cpu(), done.model.config, facts=facts,
            card=_card(results, done), codec=done.codec, captions=material.captions,
        )  # fmt: skip
        write_drawing_report(results, album, run.path / "report.html")
    end_run(run, log, results, headline(results))
    return results


def command(sitting: Sitting[TextToImageTraining], asked: Mapping[str, Any]) -> str:
    """The command line that repeats this run: what was asked for beside the defaults."""
    words = ["beholder", "train", "text-to-image", "--data", asked["data"], "--tokenizer", asked["tokenizer"]]
    words += ["--out", str(sitting.run.path)]
    words += spoken(sitting.settings, TextToImageTraining(), _SPOKEN, always=("form", "size", "budget"))
    return shlex.join([*words, "--seed", str(asked["seed"])])


def _notes(material: Material) -> list[str]:
    kind = "names of classes" if material.has_classes else "texts of the data"
    left = [f"{material.num_silent:,} pictures without a caption are left out"] if material.num_silent else []
    return [f"captions are {kind}, {len(set(material.texts)):,} different ones", *left]


def _gallery(sitting: Sitting[TextToImageTraining], done: Finished) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """The first captions that were asked: the true picture, the drawn ones, the chosen one first, and the nearest
    training picture; and their files."""
    asked, squares = done.asked, done.tables.squares[PLAIN]
    shown, album = [], {}
    for row, text in enumerate(asked.texts[:_NUM_SHOWN]):
        origin = describe_origin(
            "train text-to-image", "of this run", sitting.seed, text, guidance=sitting.settings.guidance
        )
        first = int(asked.best[row])
        order = [first, *(place for place in range(asked.drawn.shape[1]) if place != first)]
        names = [f"true-{row}", *(f"drawn-{row}-{place}" for place in order), f"nearest-{row}"]
        album[names[0]] = as_png(np.asarray(squares[asked.places[row]]))
        for place in order:
            album[f"drawn-{row}-{place}"] = encode_picture(asked.drawn[row, place], origin)
        album[names[-1]] = as_png(np.asarray(squares[asked.nearest[row]]))
        shown.append({"caption": text, "pictures": names, "nearest": done.material.texts[asked.nearest[row]]})
    return shown, album


def _around(told: Mapping[str, Any]) -> str:
    ends = told["interval"]
    return f" (95 % interval {ends[0]:.1%} to {ends[1]:.1%})" if ends else ""


def _card(results: Mapping[str, Any], done: Finished) -> str:
    lines = [
        f"- {name}: {row['preferred']['value']:.1%} of comparisons prefer the own caption{_around(row['preferred'])}"
        for name, row in results["judged"]["rows"].items()
    ]
    training, copies = results["training"], results["judged"]["copies"]
    chooses = _CHOOSES[results["judged"]["reranking"]["harms"]]
    reranker = (
        f"reranker/ holds a model of images and texts ({done.reranker[1]['parameters']:,} parameters) that was trained "
        f"on the same pairs and {chooses}; it has the form of CLIP on the Hugging Face hub.\n\n"
        if done.reranker
        else ""
    )
    return (
        "# Draws what a text says\n\n"
        f"{headline(results)}\n\n" + "\n".join(lines) + "\n\n"
        f"Scored by {results['judged']['scorer']['name']}. {copies['share_drawn']:.1%} of the drawn pictures are taken "
        f"for copies of learned ones, as {copies['share_true']:.1%} of the true held-out ones are.\n\n"
        f"{training['parameters']:,} parameters, {training['steps']:,} steps of {done.story['pairs']:,} pairs in all, "
        f"{energy(results['cost']['total']['joules'])}. Its tokenizer lies in codec/ (SHA-256 "
        f"{done.codec.fingerprint[:12]}). It knows {len(done.material.captions.words):,} words, which stand in "
        f"words.json.\n\n{reranker}"
        f"Trained on {results['data']['folder']} by beholder {VERSION}: `{results['command']}`.\n"
    )
