"""The last stage: results, the model folder with its card, and the report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from beholder.evaluate.report_masked import headline, write_masked_report
from beholder.pretrained.part_folder import MASKED, Part, save_part
from beholder.recipes.code_training import costs_of, course
from beholder.recipes.masked.material import Material
from beholder.recipes.masked.settings import MaskedTraining
from beholder.recipes.results import begin_results, end_run
from beholder.recipes.sitting import Sitting
from beholder.runtime.energy import Cost
from beholder.runtime.files import told_kindly
from beholder.runtime.log import energy
from beholder.runtime.run_folder import RunFolder
from beholder.tasks.masked_pictures import MaskedPictures
from beholder.tasks.provenance import describe_origin, encode_picture
from beholder.train.pace import Timed
from beholder.version import VERSION


@dataclass(frozen=True)
class Finished:
    """What a run has come to."""

    material: Material
    codec: Part
    painter: MaskedPictures
    story: Mapping[str, Any]
    judged: Mapping[str, Any]
    sheets: Mapping[str, np.ndarray]
    timed: Timed


def tell(sitting: Sitting[MaskedTraining], asked: Mapping[str, Any], done: Finished) -> dict[str, Any]:
    """Everything that is written at the end; `results.json` comes last and marks the run as finished."""
    run, settings, log, story = sitting.run, sitting.settings, sitting.log, done.story
    total = sum(run.costs().values(), Cost())
    material, model = done.material, done.painter.model
    conditions = ["their class"] * bool(material.labels) + ["their caption"] * bool(material.captions)
    given = f", given {' and '.join(conditions)}" if conditions else ""
    results: dict[str, Any] = {
        **begin_results(run, sitting.device, command(asked, settings, run), asked["seed"]),
        "data": {"folder": asked["data"], **material.collection.facts},
        "judged": dict(done.judged),
        "training": {
            "backbone": f"A model of masked pictures ({settings.size}, {story['parameters']:,} parameters)",
            "objective": f"telling hidden codes of pictures from the others{given}",
            "pictures": story["pictures"],
            **course(run, story, "Nats a code"),
        },
        "sheets": [{"name": name, "picture": f"sheet-{name}"} for name in done.sheets],
        "cost": costs_of(run, {"training": done.timed.seconds}),
        "wall_seconds": total.seconds,
    }
    facts = {
        "made_by": f"beholder {VERSION} train masked",
        "data": asked["data"],
        "labels": list(material.labels),
        "steps": story["steps"],
        "seed": asked["seed"],
        "judged": results["judged"],
    }
    with told_kindly(run.path):
        save_part(
            run.path / "model", MASKED, model.cpu(), model.config, facts=facts, card=_card(results, done),
            codec=done.codec, captions=material.captions,
        )  # fmt: skip
        origin = describe_origin("train masked", "of this run", asked["seed"], "")
        pictures = {f"sheet-{name}": encode_picture(pixels, origin) for name, pixels in done.sheets.items()}
        write_masked_report(results, pictures, run.path / "report.html")
    end_run(run, log, results, headline(results))
    return results


def command(asked: Mapping[str, Any], settings: MaskedTraining, run: RunFolder) -> str:
    """The command line that repeats this run."""
    words = ["beholder", "train", "masked", "--data", asked["data"], "--tokenizer", asked["tokenizer"]]
    words += ["--out", str(run.path), "--size", settings.size, "--budget", settings.budget]
    words += ["--batch-size", str(settings.batch_size), "--guidance", str(settings.guidance)]
    words += ["--steps", str(settings.decoding.num_steps)]
    words += ["--without-labels"] * (not settings.has_labels) + ["--without-texts"] * (not settings.has_texts)
    words += ["--group", settings.group] if settings.group else []
    return shlex.join([*words, "--seed", str(asked["seed"])])


def _card(results: Mapping[str, Any], done: Finished) -> str:
    training, holes = results["training"], results["judged"]["holes"]
    return (
        "# Model of masked pictures\n\n"
        f"{headline(results)}\n\n"
        f"- Distances compare {holes['features']}; they are not comparable with distances of other features.\n"
        f"- Classes: {', '.join(done.material.labels) or 'none'}. Captions: "
        f"{'read' if done.material.captions else 'none'}.\n"
        f"- {training['parameters']:,} parameters, {training['steps']:,} steps, "
        f"{energy(results['cost']['total']['joules'])}. Its tokenizer lies in codec/ (SHA-256 "
        f"{done.codec.fingerprint[:12]}).\n\n"
        f"Trained on {results['data']['folder']} by beholder {results['version']}: `{results['command']}`.\n"
    )
