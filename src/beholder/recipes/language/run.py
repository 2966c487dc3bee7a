"""`train_language`: the next token of one's own texts (Radford et al. 2018), by a model of LLaMA's shape (Touvron et
al. 2023, arXiv 2302.13971), or by a named one that goes on learning.

    beholder train language --data texts/ --out runs/language

Hardware: any CPU for a model of one's own; a GPU for a large named one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import nn

from beholder.config import from_json, to_json
from beholder.data.decode import Limits
from beholder.models.gpt import GPT, GPTConfig
from beholder.objectives.next_token import NextToken
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.load import load
from beholder.pretrained.part_folder import need_whole
from beholder.recipes import code_training
from beholder.recipes.budget import parse_budget
from beholder.recipes.language.judge import (
    BEFORE,
    FREQUENCIES,
    MODEL,
    archiver_bits,
    frequency_nats,
    judge,
    nats_of,
    num_windows,
)
from beholder.recipes.language.material import Material, Written, gather, write_all
from beholder.recipes.language.settings import OWN, LanguageTraining, check
from beholder.recipes.language.stream import PackedTexts
from beholder.recipes.language.tell import Finished, Sample, tell
from beholder.recipes.sitting import Sitting
from beholder.runtime.device import pick_device
from beholder.runtime.files import refuse_inside, write_text
from beholder.runtime.log import Log, counted, duration
from beholder.runtime.run_folder import RunFolder
from beholder.runtime.seed import derive, seed_everything
from beholder.tasks.saying import saying_of
from beholder.tasks.write import Writer
from beholder.tokenizers.language import learn_words
from beholder.tokenizers.text import Words
from beholder.train.best import KeepBest
from beholder.train.pace import Timed
from beholder.trunk.lowrank import attach_low_rank, merge_low_rank
from beholder.types import UserError

_VALIDATION = "nats a token, held out"
_NUM_LOOKED = 100
_NUM_BEGUN, _NUM_WRITTEN = 24, 60


@dataclass(frozen=True)
class Language:
    """What learns: fresh, or a named one as it was."""

    model: GPT
    config: GPTConfig
    words: Words
    named: Foreign | None


def train_language(
    data: str | Path,
    *,
    out: str | Path,
    language: str = OWN,
    settings: LanguageTraining | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    log: Log | None = None,
) -> dict[str, Any]:
    """Train a language model on texts or conversations (`data.texts.read_texts` tells the layouts), judge it on texts
    that are held out, and write the run folder `out` with its `model/`, which transformers opens too, and
    `report.html`; an unfinished run there goes on. Gives what stands in `results.json`.

    `language` is "own", or what `load` opens, which then goes on learning. Of conversations answers alone are learned.
    Raises UserError for what cannot work.
    """
    settings = from_json(LanguageTraining, to_json(settings or LanguageTraining()))
    check(settings)
    parse_budget(settings.budget, needed=True)
    log, data, out = log or Log(quiet=True), Path(data), Path(out)
    if data.is_dir():
        refuse_inside(out, data)
    asked = {"recipe": "train_language", "data": str(data), "language": language, **to_json(settings), "seed": seed}
    with RunFolder.open(out, asked, log) as run:
        sitting = Sitting(data, settings, seed, run, pick_device(device, threads), Limits(), log)
        return _run(sitting, asked)


def _run(sitting: Sitting[LanguageTraining], asked: dict[str, Any]) -> dict[str, Any]:
    settings, run, log, device = sitting.settings, sitting.run, sitting.log, sitting.device
    with run.charged("reading"):
        material = gather(sitting)
        tongue = open_language(asked["language"], sitting, material)
        size = tongue.config.vocabulary_size
        train, validation, test = (
            write_all(material.texts[name], tongue.words, size) for name in ("train", "validation", "test")
        )
    num_tokens = sum(len(one.tokens) for one in train)
    whose = "learned from the texts" if tongue.named is None else f"of {asked['language']}"
    log.stage("Words", f"{counted(tongue.words.size, 'token')}, {whose}; {num_tokens:,} to learn from")
    length = min(settings.length, tongue.model.longest or settings.length)
    stream = PackedTexts(train, length, settings.batch_size, derive(sitting.seed, "stream"))
    timed = Timed(**run.resolve("timed", lambda: to_json(_pace(sitting, tongue.model, stream))))
    epochs = timed.steps * settings.batch_size / stream.rows_per_epoch
    log.stage(
        "Estimate",
        f"{timed.steps:,} steps of {timed.seconds_per_step:.2f} s, {duration(timed.seconds)}, each text read "
        f"{epochs:.1f} times, on {device.reason}",
    )
    nats: dict[str, Float[np.ndarray, " n"]] = {}
    if tongue.named is not None:
        before = run.stage("before", lambda: _read(sitting, tongue.model, test, length, "Before").tolist())
        nats[BEFORE] = np.array(before)
    story = fit(sitting, tongue, stream, validation, timed.steps)
    merge_low_rank(tongue.model).requires_grad_(False)
    with run.charged("judging"):
        nats[MODEL] = np.array(
            run.stage("after", lambda: _read(sitting, tongue.model, test, length, "Judge").tolist())
        )  # fmt: skip
        nats[FREQUENCIES] = frequency_nats(train, test, size)
        archiver = archiver_bits(train, test) if material.found.kind == "texts" else None
        judged = judge(test, {MODEL: nats.pop(MODEL), **nats}, archiver, sitting.seed)
        samples = sample(Writer(tongue.model, tongue.words, device), test, settings.num_samples, sitting.seed)
    done = Finished(material, tongue.model, tongue.words, tongue.named, {**story, "epochs": epochs}, judged, samples,
                    timed)  # fmt: skip
    return tell(sitting, asked, done)


def open_language(name: str, sitting: Sitting[LanguageTraining], material: Material) -> Language:
    """Fresh, with words learned from the texts of the part that is learned from; or by name. Raises UserError for one
    that does not write, or has no tokenizer."""
    settings = sitting.settings
    if name == OWN:
        pieces = [piece for one in material.texts["train"] for piece in one.pieces]
        are_conversations = material.found.kind == "conversations"
        words = learn_words(pieces, settings.vocabulary_size, settings.length, are_conversations=are_conversations)
        config = settings.language(words.size)
        seed_everything(sitting.seed, "language")
        return Language(GPT(config), config, words, None)
    loaded = need_whole(load(name))
    if not isinstance(loaded, Foreign) or not isinstance(loaded.model, GPT):
        raise UserError(f"{name} is no language model that writes; name a GPT, LLaMA, Qwen or the like, or {OWN}.")
    model = loaded.model.float()
    if settings.tuning == "low-rank":
        model.requires_grad_(False)
        attach_low_rank(model.trunk.blocks, settings.rank)
    else:
        model.requires_grad_(True)
    return Language(model, model.config, loaded.need_words(), loaded)


def fit(
    sitting: Sitting[LanguageTraining], tongue: Language, stream: PackedTexts, validation: Sequence[Written],
    num_steps: int,
) -> dict[str, Any]:  # fmt: skip
    """Train the model in place, once; it ends with the weights that foretold the validation part best."""
    run, settings = sitting.run, sitting.settings
    looked = validation[:_NUM_LOOKED]
    num_tokens = sum(int(one.counts.sum()) for one in looked)
    samples = run.path / "samples"
    samples.mkdir(exist_ok=True)

    def probe(model: nn.Module, step: int) -> dict[str, float]:
        assert isinstance(model, GPT)
        drawn = sample(Writer(model, tongue.words, sitting.device), validation, 1, sitting.seed)
        write_text(samples / f"step-{step:06d}.txt", "".join(f"{one.begun}|{one.written}\n" for one in drawn))
        nats = nats_of(model, looked, stream.length, settings.batch_size, sitting.device)
        return {_VALIDATION: float(nats.sum() / num_tokens)}

    kept = KeepBest(probe, _VALIDATION, run.scratch(code_training.TRAINING) / "best")
    every = max(1, num_steps // code_training.NUM_PROBES)
    is_slow = tongue.named is not None and settings.tuning == "full"
    lr = settings.lr * (settings.full_rate if is_slow else 1.0)
    plan = code_training.plan_for(lr, num_steps, derive(sitting.seed, "train"), every)
    story = code_training.fit_stage(
        sitting, tongue.model, NextToken(), stream, plan, [kept], unit="nats a token", kept=kept
    )
    return {**story, "tokens": story["steps"] * stream.batch_size * stream.length}


def sample(writer: Writer, texts: Sequence[Written], count: int, seed: int) -> list[Sample]:
    """How held-out texts go on, or what their questions are answered, drawn with temperature 0.8."""
    saying = replace(saying_of(temperature=0.8, top_p=0.95, seed=seed), num_tokens=_NUM_WRITTEN)
    samples = []
    for number, one in enumerate(texts[:: max(1, len(texts) // max(1, count))][:count]):
        if one.text.turns:
            begun, right = one.text.turns[0]
            prompt = writer.ask(begun)
        else:
            prompt = [int(token) for token in one.tokens[: min(_NUM_BEGUN, max(2, len(one.tokens) // 2))]]
            begun = writer.words.decode(prompt)
            right = writer.words.decode(one.tokens[len(prompt) : len(prompt) + _NUM_WRITTEN].tolist())
        room = min(_NUM_WRITTEN, writer.room(prompt))
        if room < 1:
            continue  # a question as long as the model reads
        (written,) = writer.write([prompt], replace(saying, num_tokens=room, seed=seed + number))
        samples.append(Sample(one.text.key, begun, written, right))
    return samples


def _pace(sitting: Sitting[LanguageTraining], model: GPT, stream: PackedTexts) -> Timed:
    return code_training.steps_for(
        sitting.settings, model, NextToken(), lambda size: replace(stream, batch_size=size), sitting.device,
        "--batch-size",
    )  # fmt: skip


def _read(
    sitting: Sitting[LanguageTraining], model: GPT, texts: Sequence[Written], length: int, name: str
) -> Float[np.ndarray, " n"]:
    with sitting.log.progress(name, num_windows(texts, length)) as advance:
        return nats_of(model, texts, length, sitting.settings.batch_size, sitting.device, advance)
