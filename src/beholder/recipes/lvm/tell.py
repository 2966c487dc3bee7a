"""The last stage: results, the model folder with its card, and the report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from beholder.evaluate.report_sentences import headline, write_sentences_report
from beholder.models.lvm import LVM
from beholder.pretrained.part_folder import SENTENCES, Part, save_part
from beholder.recipes.code_training import costs_of, course
from beholder.recipes.lvm.material import Material
from beholder.recipes.lvm.settings import WEIGHTS, LVMTraining
from beholder.recipes.results import begin_results, end_run
from beholder.recipes.sitting import Sitting
from beholder.runtime.energy import Cost
from beholder.runtime.files import told_kindly
from beholder.runtime.log import energy
from beholder.runtime.run_folder import RunFolder
from beholder.tasks.provenance import describe_origin, encode_picture
from beholder.train.pace import Timed
from beholder.version import VERSION


@dataclass(frozen=True)
class Finished:
    """What a run has come to."""

    material: Material
    codec: Part
    model: LVM
    story: Mapping[str, Any]
    judged: Mapping[str, Any]
    sheets: Mapping[str, np.ndarray]
    timed: Timed


def tell(sitting: Sitting[LVMTraining], asked: Mapping[str, Any], done: Finished) -> dict[str, Any]:
    """Everything that is written at the end; `results.json` comes last and marks the run as finished."""
    run, settings, log = sitting.run, sitting.settings, sitting.log
    story, probes = done.story, done.story["probes"]
    total = sum(run.costs().values(), Cost())
    last = {name: value for name, value in probes[-1].items() if name != "step"} if probes else {}
    results: dict[str, Any] = {
        **begin_results(run, sitting.device, command(asked, settings, run), asked["seed"]),
        "data": {"folder": asked["data"], **done.material.collection.facts},
        "judged": {**done.judged, "plain_nats": last.get("plain"), "held_out_nats": last},
        "num_examples": settings.num_pictures // 2 - 1,
        "weights": {task: WEIGHTS[task] for task in done.material.tasks},
        "training": {
            "backbone": f"A model of visual sentences ({settings.size}, {story['parameters']:,} parameters)",
            "objective": "foretelling the next code of sentences of " + ", ".join(done.material.tasks),
            "sentences": story["sentences"],
            "tokens": story["tokens"],
            **course(run, story, "Nats a code"),
        },
        "sheets": [{"task": task, "picture": f"sheet-{task}"} for task in done.sheets],
        "cost": costs_of(run, {"training": done.timed.seconds}),
        "wall_seconds": total.seconds,
    }
    origin = describe_origin("train lvm", "of this run", asked["seed"], "")
    pictures = {f"sheet-{task}": encode_picture(pixels, origin) for task, pixels in done.sheets.items()}
    facts = {
        "made_by": f"beholder {VERSION} train lvm",
        "data": asked["data"],
        "tasks": list(done.material.tasks),
        "left_out": list(done.material.left_out),
        "steps": story["steps"],
        "seed": asked["seed"],
        "pictures": _pictures(done.material),
        "judged": results["judged"],
    }
    with told_kindly(run.path):
        save_part(
            run.path / "model", SENTENCES, done.model.cpu(), done.model.config, facts=facts,
            card=_card(results, done), codec=done.codec,
        )  # fmt: skip
        write_sentences_report(results, pictures, run.path / "report.html")
    end_run(run, log, results, headline(results))
    return results


def command(asked: Mapping[str, Any], settings: LVMTraining, run: RunFolder) -> str:
    """The command line that repeats this run."""
    words = ["beholder", "train", "lvm", "--data", asked["data"], "--tokenizer", asked["tokenizer"]]
    words += ["--out", str(run.path), "--size", settings.size, "--budget", settings.budget]
    if settings.tasks is not None:
        words += ["--tasks", ",".join(settings.tasks)]
    if settings.num_pictures != LVMTraining().num_pictures:
        words += ["--pictures", str(settings.num_pictures)]
    words += ["--group", settings.group] if settings.group else []
    if settings.leave_out:
        words += ["--leave-out", ",".join(settings.leave_out)]
    return shlex.join([*words, "--seed", str(asked["seed"])])


def _pictures(material: Material) -> dict[str, list[str]]:
    """Content hashes of what was learned from and of what was held out: whoever judges the model by other pictures can
    see whether it knows them."""
    hashes = np.array(material.collection.hashes)
    return {"learned": hashes[~material.is_held_out].tolist(), "held_out": hashes[material.is_held_out].tolist()}


def _card(results: Mapping[str, Any], done: Finished) -> str:
    lines = []
    for task, told in results["judged"]["tasks"].items():
        copied = told["rivals"]["copying the example"]["score"]
        left = ", never learned" if told["is_left_out"] else ""
        lines.append(f"- {task}{left}: {told['metric']} {told['score']:.3f}; copying the example {copied:.3f}")
    training = results["training"]
    return (
        "# Model of visual sentences\n\n"
        f"{headline(results)}\n\n" + "\n".join(lines) + "\n\n"
        f"{training['parameters']:,} parameters, {training['steps']:,} steps, {training['tokens']:,} tokens, "
        f"{energy(results['cost']['total']['joules'])}. Its tokenizer lies in codec/ (SHA-256 "
        f"{done.codec.fingerprint[:12]}).\n\n"
        f"Trained on {results['data']['folder']} by beholder {VERSION}: `{results['command']}`.\n"
    )
