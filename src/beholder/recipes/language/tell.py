"""The last stage: results, the model folder with its card, and the report."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from beholder.evaluate.report_language import headline, write_language_report
from beholder.models.gpt import GPT
from beholder.pretrained.huggingface.export import export_to_huggingface
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.recipes.code_training import costs_of, course
from beholder.recipes.language.material import Material
from beholder.recipes.language.settings import OWN, LanguageTraining
from beholder.recipes.results import begin_results, end_run
from beholder.recipes.sitting import Sitting
from beholder.recipes.spoken import spoken
from beholder.runtime.energy import Cost
from beholder.runtime.files import told_kindly, write_text
from beholder.runtime.log import energy
from beholder.tokenizers.text import Words
from beholder.train.pace import Timed
from beholder.version import VERSION

_SPOKEN = ("size", "tuning", "budget", "vocabulary_size", "length", "batch_size")
_OWN_KIND = "llama"
"""How a model of one's own is written, so that others open it."""


@dataclass(frozen=True)
class Sample:
    """What the model made of a held-out beginning or question."""

    key: str
    begun: str
    written: str
    right: str
    """How the text goes on, or what was answered."""


@dataclass(frozen=True)
class Finished:
    """What a run has come to."""

    material: Material
    model: GPT
    words: Words
    named: Foreign | None
    story: Mapping[str, Any]
    judged: Mapping[str, Any]
    samples: list[Sample]
    timed: Timed


def tell(sitting: Sitting[LanguageTraining], asked: Mapping[str, Any], done: Finished) -> dict[str, Any]:
    """Everything that is written at the end; `results.json` comes last and marks the run as finished."""
    run, log, material = sitting.run, sitting.log, done.material
    results: dict[str, Any] = {
        **begin_results(run, sitting.device, command(sitting, asked), asked["seed"]),
        "data": {**material.facts, "folder": asked["data"]},
        "kind": material.found.kind,
        "judged": done.judged,
        "samples": [asdict(one) for one in done.samples],
        "training": {
            "sentence": f"{_backbone(asked, done)} learned by foretelling the next token of "
            f"{'the texts' if material.found.kind == 'texts' else 'answers'}.",
            "tokens": done.story["tokens"],
            "epochs": done.story["epochs"],
            **course(run, done.story, "Held out"),
        },
        "cost": costs_of(run, {"training": done.timed.seconds}),
        "wall_seconds": sum(run.costs().values(), Cost()).seconds,
    }
    with told_kindly(run.path):
        save(run.path / "model", done, _card(results))
        write_language_report(results, run.path / "report.html")
    end_run(run, log, results, headline(results))
    return results


def save(folder: Any, done: Finished, card: str) -> None:
    """In the form that it came in, or LLaMA's; what an interrupted run left there is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    model: nn.Module = done.model.cpu().eval()
    if done.named is not None:
        export_to_huggingface(done.named, folder)
    else:
        export_to_huggingface(model, folder, kind=_OWN_KIND, words=done.words)
    write_text(folder / "README.md", card)


def command(sitting: Sitting[LanguageTraining], asked: Mapping[str, Any]) -> str:
    """The command line that repeats this run: what was asked for beside the defaults."""
    words = ["beholder", "train", "language", "--data", asked["data"], "--out", str(sitting.run.path)]
    words += [] if asked["language"] == OWN else ["--language", asked["language"]]
    words += spoken(sitting.settings, LanguageTraining(), _SPOKEN, always=("size", "budget"))
    return shlex.join([*words, "--seed", str(asked["seed"])])


def _backbone(asked: Mapping[str, Any], done: Finished) -> str:
    shape = done.model.config.trunk
    whose = "A language model of its own" if done.named is None else f"{asked['language']}, which went on learning"
    return f"{whose} ({shape.depth} blocks {shape.width} wide, {done.words.size:,} tokens)"


def _card(results: Mapping[str, Any]) -> str:
    judged, training = results["judged"], results["training"]
    lines = [f"- {name}: {row['bits_per_byte']:.3f} bits a byte" for name, row in judged["rows"].items()]
    return (
        "# Writes as its texts do\n\n"
        f"{headline(results)}\n\n" + "\n".join(lines) + "\n\n"
        f"On {judged['num_judged']:,} held-out {results['kind']} of {results['data']['description']}. "
        f"{training['parameters']:,} parameters, {training['steps']:,} steps, {training['tokens']:,} tokens, each text "
        f"read {training['epochs']:.1f} times, {energy(results['cost']['total']['joules'])}.\n\n"
        "It writes what is likely after such texts, true or not. Do not rely on what it says.\n\n"
        f"Trained on {results['data']['folder']} by beholder {VERSION}: `{results['command']}`.\n"
    )
