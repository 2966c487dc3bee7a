"""What may be done with the unlabelled images of a domain: the candidates of research/PROTOCOL.md.

Each takes the generic backbone and CPU seconds of one thread, and gives one variant or several: how an image is looked
at afterwards, and what it took. Data come as a session and a domain of `adapt`; of the domain only
`domain.training_images(0)` is learned from.
"""

from __future__ import annotations

import copy
import csv
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from domain_peer import GENTLE_RATE, pretrained_by_peer, squares_of
from domain_peer import METHODS as PEER_METHODS
from domain_tokens import MapReader, teach_reader, tokens_of
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.data.augment import AugmentConfig
from beholder.data.parallel import decoded
from beholder.data.stream import ImageStream
from beholder.models.vit import PRESETS as VIT_PRESETS
from beholder.models.vit import ViT
from beholder.objectives.own_class import OwnClass
from beholder.objectives.recognition import pool
from beholder.objectives.teacher import SelfDistillation
from beholder.pretrained.part_folder import load_part
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.features import Features, Look, prepare, rows_of, see
from beholder.recipes.adapt.pretrain import pretrain, start_backbone, steps_for
from beholder.recipes.adapt.sentences import Sentences
from beholder.recipes.adapt.session import Session
from beholder.recipes.budget import Budget
from beholder.recipes.lvm.run import train_lvm
from beholder.recipes.lvm.settings import LVMTraining
from beholder.recipes.tokenizer.run import train_tokenizer
from beholder.runtime.ledger import Ledger
from beholder.runtime.seed import derive, seed_everything
from beholder.tasks.visual_sentences import open_sentences
from beholder.tokenizers.pixels import normalise
from beholder.train.loop import Plan, train
from beholder.train.pace import seconds_per_step
from beholder.train.state import steps_taken
from beholder.train.step import StepReport
from beholder.trunk.lowrank import attach_low_rank, merge_low_rank
from beholder.types import Batch, Losses

SHARES_OF_WEIGHTS = (0.3, 0.5, 0.7)
SHARES_OF_STATISTICS = (0.1, 0.3, 1.0)
RANKS, LOW_RANK_RATE = (4, 16), 1e-3
OWN_CLASS_RATES = (GENTLE_RATE, 2e-4)
STUDENT_SIDE, STUDENT_RATE = 96, 1e-3
_VIEW, _CACHED, _BATCH, _NUM_TIMED = 112, 144, 32, 4


@dataclass(frozen=True)
class Variant:
    """What a candidate made."""

    name: str
    look: Look
    """Descriptor and summary rows of decoded images."""
    side: int
    """Of the squares that it looks at."""
    story: dict[str, Any]
    """With "cpu_seconds"."""


Make = Callable[[Session, Domain, nn.Module, float, Features], Iterator[Variant]]
"""Takes the generic backbone, seconds of pretraining, and the generic features of all images."""


def by_teacher(session: Session, domain: Domain, generic: nn.Module, seconds: float, _: Features) -> Iterator[Variant]:
    """Self-distillation from the generic backbone on."""
    backbone, story = _taught(session, domain, generic, seconds)
    yield _of_backbone("teacher", session, backbone, story)


def by_gentle_teacher(
    session: Session, domain: Domain, generic: nn.Module, seconds: float, _: Features
) -> Iterator[Variant]:
    """Self-distillation at a quarter of `adapt`'s rate."""
    backbone = start_backbone(dataclasses.replace(session.config, objective="teacher"), generic)
    name = f"teacher-{GENTLE_RATE:g}"
    story = _learn(session, domain, backbone, SelfDistillation(backbone), seconds, name, GENTLE_RATE)
    yield _of_backbone(name, session, backbone, story)


def by_pulled_teacher(
    session: Session, domain: Domain, generic: nn.Module, seconds: float, _: Features
) -> Iterator[Variant]:
    """The same run, on the way back to the generic weights (Wortsman et al. 2021, arXiv 2109.01903)."""
    backbone, story = _taught(session, domain, generic, seconds)
    for share in SHARES_OF_WEIGHTS:
        yield _of_backbone(f"teacher-pulled-{share:g}", session, between(generic, backbone, share), story)


def by_statistics(
    session: Session, domain: Domain, generic: nn.Module, seconds: float, _: Features
) -> Iterator[Variant]:
    """Batch norms count the domain's means and variances; no weight is changed."""
    array = squares_of(session, domain, session.config.resolutions[0])
    begun = time.process_time()
    counted = recounted(generic, array, session)
    story = {"cpu_seconds": time.process_time() - begun, "num_images": len(array)}
    for share in SHARES_OF_STATISTICS:
        yield _of_backbone(f"statistics-{share:g}", session, between(generic, counted, share), story)


def by_low_rank(session: Session, domain: Domain, generic: nn.Module, seconds: float, _: Features) -> Iterator[Variant]:
    """Self-distillation in which every 1 x 1 convolution learns through two thin matrices."""
    for rank in RANKS:
        seed_everything(session.config.seed, f"low-rank-{rank}")
        backbone = attach_low_rank(copy.deepcopy(generic).train(), rank)
        name = f"low-rank-{rank}"
        story = _learn(session, domain, backbone, SelfDistillation(backbone), seconds, name, LOW_RANK_RATE)
        yield _of_backbone(name, session, merge_low_rank(backbone), story)


def by_own_class(
    session: Session, domain: Domain, generic: nn.Module, seconds: float, _: Features
) -> Iterator[Variant]:
    """Each image its own class, labels smoothed, over frozen early stages (DIET-CP, arXiv 2509.06990)."""
    asked = dataclasses.replace(session.config, objective="own-class")
    for rate in OWN_CLASS_RATES:
        backbone = start_backbone(asked, generic)
        objective = OwnClass(backbone, len(domain.training_images(0)))
        name = f"own-class-{rate:g}"
        story = _learn(session, domain, backbone, objective, seconds, name, rate, num_views=1)
        yield _of_backbone(name, session, backbone, story)


def by_tokens(session: Session, domain: Domain, generic: nn.Module, seconds: float, _: Features) -> Iterator[Variant]:
    """A small transformer over the frozen backbone's maps: which token comes next, or stood where one is hidden."""
    frozen = prepare(copy.deepcopy(generic), session.device)
    begun = time.process_time()
    samples = [domain.samples[index] for index in domain.training_images(0)]
    maps = torch.cat([
        tokens_of(frozen, [image], session)
        for image in decoded(samples, session.limits, 1, at_least=session.config.resolutions[0])
    ])  # fmt: skip
    spent = time.process_time() - begun
    for name, is_causal in (("next-token", True), ("masked-tokens", False)):
        seed_everything(session.config.seed, name)
        reader = MapReader(maps, is_causal)
        steps, trained = teach_reader(reader, maps, max(seconds - spent, 1.0), session.config.seed)
        story = {"objective": name, "steps": steps, "num_images": len(maps), "cpu_seconds": spent + trained}

        def look(images: Sequence[np.ndarray], reader: MapReader = reader) -> tuple[np.ndarray, np.ndarray]:
            with torch.inference_mode():
                states = reader.states(tokens_of(frozen, images, session))
                rows = torch.cat([part for one in states for part in (one.mean(1), one.std(1))], 1)
            return rows.numpy(), states[-1].mean(1).numpy()

        yield Variant(name, look, session.config.resolutions[0], story)


def by_student(
    session: Session, domain: Domain, generic: nn.Module, seconds: float, features: Features
) -> Iterator[Variant]:
    """A small transformer that first foretells the generic features and then teaches itself, half of the time each."""
    learned = domain.training_images(0)
    rows = rows_of(features.descriptor, learned)
    rows = (rows - rows.mean(0)) / (rows.std(0) + 1e-6)
    _, _, axes = np.linalg.svd(rows[:: max(1, len(rows) // 1000)], full_matrices=False)
    targets = torch.from_numpy((rows @ axes[:128].T).astype(np.float32))
    seed_everything(session.config.seed, "student")
    student = ViT(VIT_PRESETS["domain"])
    story = _learn(
        session, domain, student, _Foretelling(student, targets / targets.std(0)), seconds / 2, "student-told",
        STUDENT_RATE, num_views=1, view=STUDENT_SIDE,
    )  # fmt: skip
    second = _learn(
        session, domain, student.train(), SelfDistillation(student), seconds / 2, "student-alone", STUDENT_RATE / 2,
        view=STUDENT_SIDE,
    )  # fmt: skip
    told = {**story, "objective": "distilled", "cpu_seconds": story["cpu_seconds"] + second["cpu_seconds"]}
    yield _of_backbone(
        "distilled", session, student, {**told, "steps": [story["steps"], second["steps"]]}, STUDENT_SIDE
    )


def by_sentences(
    session: Session, domain: Domain, generic: nn.Module, seconds: float, _: Features
) -> Iterator[Variant]:
    """States of a model of visual sentences over its own tokenizer, half of the time each."""
    folder = session.run.path.parent / f"sentences-{session.config.seed}"
    folder.mkdir(exist_ok=True)
    table = folder / "learned.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path"])
        rows.writerows([[_file_of(domain, index, folder)] for index in domain.training_images(0)])
    budget, told = f"{max(1, round(seconds / 2))}s", {"device": "cpu", "threads": 1, "log": session.log}
    begun = time.process_time()
    if not (folder / "tok" / "results.json").exists():
        train_tokenizer(table, out=folder / "tok", budget=budget, seed=session.config.seed, **told)
    if not (folder / "lvm" / "results.json").exists():
        train_lvm(
            table, tokenizer=folder / "tok", out=folder / "lvm", settings=LVMTraining(budget=budget),
            seed=session.config.seed, **told,
        )  # fmt: skip
    spent = session.run.resolve("seconds of sentences", lambda: time.process_time() - begun)
    part = load_part(folder / "lvm" / "model")
    sentences = Sentences(open_sentences(part, session.device), part)
    story = {"objective": "visual sentences", "num_images": len(domain.training_images(0)), "cpu_seconds": spent}
    yield Variant("visual-sentences", sentences.look, sentences.side, story)


def by_peer(method: str) -> Make:
    """lightly-train, from the same weights on."""

    def make(session: Session, domain: Domain, generic: nn.Module, seconds: float, _: Features) -> Iterator[Variant]:
        backbone, story = pretrained_by_peer(
            method, session, domain, generic, seconds, view=_VIEW, cached=_CACHED, batch=_BATCH
        )  # fmt: skip
        yield _of_backbone(f"lightly-train-{method}", session, backbone, story)

    return make


CANDIDATES: dict[str, Make] = {
    "teacher": by_teacher,
    "teacher-gentle": by_gentle_teacher,
    "teacher-pulled": by_pulled_teacher,
    "statistics": by_statistics,
    "low-rank": by_low_rank,
    "own-class": by_own_class,
    "tokens": by_tokens,
    "distilled": by_student,
    "visual-sentences": by_sentences,
    **{f"lightly-train-{method}": by_peer(method) for method in PEER_METHODS},
}


class _Foretelling(nn.Module):
    """From a view's pooled features a linear map foretells its image's row of targets."""

    def __init__(self, model: Any, targets: Tensor) -> None:
        super().__init__()
        self.head = nn.Linear(sum(model.map_widths) + model.summary_width, targets.shape[1])
        self.register_buffer("targets", targets)
        self.targets: Tensor

    def forward(self, model: Any, batch: Batch) -> Losses:
        told = self.head(pool(model(batch["views"][0]))).float()
        return Losses(F.mse_loss(told, self.targets[batch["indices"]]), {})

    def after_step(self, model: Any, progress: float) -> None:
        pass


def _of_backbone(
    name: str, session: Session, backbone: nn.Module, story: dict[str, Any], side: int | None = None
) -> Variant:
    backbone = prepare(backbone.eval(), session.device)
    sides = session.config.resolutions if side is None else (side,)

    def look(images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return see(backbone, images, sides, session.pixels, session.device)

    return Variant(name, look, max(sides), story)


def _taught(session: Session, domain: Domain, generic: nn.Module, seconds: float) -> tuple[nn.Module, dict[str, Any]]:
    """By `adapt`'s own stage."""
    session = dataclasses.replace(session, config=dataclasses.replace(session.config, objective="teacher"))
    budget, num_images = Budget(seconds=seconds), len(domain.training_images(0))
    timed = session.run.resolve("steps", lambda: dataclasses.asdict(steps_for(session, budget, generic, num_images)))
    begun = time.process_time()
    candidate = pretrain(session, domain, 0, int(timed["steps"]), generic)
    story = {key: candidate.story[key] for key in ("objective", "steps", "batch_size", "num_images", "stopped")}
    spent = session.run.resolve("cpu_seconds", lambda: {"of_pretraining": time.process_time() - begun})
    return candidate.backbone, {**story, "cpu_seconds": spent["of_pretraining"]}


def _learn(
    session: Session, domain: Domain, model: nn.Module, objective: nn.Module, seconds: float, name: str, rate: float,
    *, num_views: int = 2, view: int = _VIEW,
) -> dict[str, Any]:  # fmt: skip
    """Train in place, batch norms with the statistics that they came with, on augmented squares of the domain."""
    array = squares_of(session, domain, _CACHED)
    seed = derive(session.config.seed, name)
    how = AugmentConfig(size=view, crop_area=(0.4, 1.0), mean=session.pixels.mean, std=session.pixels.std)
    stream = ImageStream(array, batch_size=min(_BATCH, len(array)), num_views=num_views, augmentation=how, seed=seed)
    per_step = session.run.resolve(
        f"CPU seconds a step of {name}",
        lambda: _cpu_seconds_per_step(*copy.deepcopy((model, objective)), stream, session),
    )
    steps = max(1, int(seconds / per_step))
    plan = Plan(
        num_steps=steps, lr=rate, num_warmup=max(1, steps // 10), keeps_statistics=True, seed=seed,
        checkpoint_every_seconds=30.0,
    )  # fmt: skip
    folder, ledger = session.run.scratch(f"learning-{name}"), Ledger(session.run, f"learning {name}")
    with session.log.progress(name, steps, steps_taken(folder)) as advance:

        def on_step(report: StepReport) -> None:
            ledger.on_step()
            advance(1, f"loss {report.losses['total']:.3f}")

        train(model, objective, stream, plan=plan, device=session.device, folder=folder, on_step=on_step)
    ledger.close()
    spent = session.run.costs()[f"learning {name}"].cpu_seconds  # of all sittings
    return {"objective": type(objective).__name__, "steps": steps, "batch_size": stream.batch_size, "rate": rate,
            "num_images": len(array), "cpu_seconds": spent}  # fmt: skip


def _cpu_seconds_per_step(model: nn.Module, objective: nn.Module, stream: ImageStream, session: Session) -> float:
    seconds_per_step(model, objective, stream, session.device, 1)  # what a process loads once is not counted
    begun = time.process_time()
    seconds_per_step(model, objective, stream, session.device, _NUM_TIMED)
    return (time.process_time() - begun) / (_NUM_TIMED + 1)


def _file_of(domain: Domain, index: int, folder: Path) -> str:
    """The image's file; of images in tables one that is written beside."""
    sample = domain.samples[index]
    if sample.path is not None:
        return str(sample.path.absolute())
    assert sample.data is not None
    file = folder / f"{index:06d}.png"
    file.write_bytes(sample.data)
    return str(file.absolute())


def between(start: nn.Module, end: nn.Module, share: float) -> nn.Module:
    """A copy whose weights and statistics lie that far on the way from start to end."""
    mixed, ends = copy.deepcopy(start), end.state_dict()
    values = {
        name: torch.lerp(value, ends[name].to(value.dtype), share) if value.is_floating_point() else value
        for name, value in start.state_dict().items()
    }
    mixed.load_state_dict(values)
    return mixed.eval()


@torch.no_grad()
def recounted(backbone: nn.Module, array: np.ndarray, session: Session, batch_size: int = 32) -> nn.Module:
    """A copy whose batch norms hold the average statistics of batches of these pictures, in a drawn order."""
    counted = copy.deepcopy(backbone)
    for part in counted.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None  # a plain average
    counted.train()
    order = np.random.default_rng(0).permutation(len(array))
    for first in range(0, len(order) - batch_size + 1, batch_size):
        pictures = torch.from_numpy(array[np.sort(order[first : first + batch_size])])
        counted(normalise(pictures, session.pixels))
    return counted.eval()
