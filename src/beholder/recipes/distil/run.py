"""The run: look the teacher up, fit a map, let the backbone learn, fit the map again, keep what is better, compare.

beholder distil runs/first/model --student small --data photos/ --labels auto --out runs/small

Hardware: any CPU. 2,000 photos of a teacher of three sizes take about three minutes to look up and five to learn on one
core; what came of it stands in docs/benchmarks.md.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beholder.config import to_json
from beholder.data.augment import AugmentConfig
from beholder.data.decode import Limits
from beholder.data.sources import read_source
from beholder.data.stream import ImageStream
from beholder.objectives.distillation import Distillation
from beholder.portable.cost import guess_seconds, memory_of_original, time_in_turn
from beholder.portable.exportable import Exportable, open_exportable
from beholder.pretrained.bundle import Bundle, load_bundle
from beholder.pretrained.load import load_own
from beholder.recipes.before_after import BeforeAfter, Pictures, Weight, choose_pictures, compare_on, decoded
from beholder.recipes.budget import parse_budget
from beholder.recipes.code_training import fit_stage, plan_for, steps_for
from beholder.recipes.distil.settings import FEWEST, SIDES, Distil, Student
from beholder.recipes.distil.student import (
    Mapped,
    StudentNetwork,
    begin,
    build_student,
    describe_all,
    fit_map,
    move_levels,
)
from beholder.recipes.distil.views import Views, look
from beholder.recipes.sitting import Sitting
from beholder.runtime.device import pick_device
from beholder.runtime.files import refuse_inside, told_kindly, write_text
from beholder.runtime.log import Log, counted, duration
from beholder.runtime.run_folder import RunFolder
from beholder.runtime.seed import derive
from beholder.tasks.embed import embed_arrays
from beholder.types import Sample, UserError
from beholder.version import VERSION

_SHARE_ASKED = 0.15
"""Of the pictures to learn from: those that choose penalties, and between the backbone before and after."""
_STAGE = "training"


@dataclass(frozen=True)
class _Lesson:
    """What the student learns from and is chosen by."""

    learned: Views
    asked: Views
    objective: Distillation


def distil(
    teacher: str | Path,
    *,
    data: str | Path,
    out: str | Path,
    student: Student = "small",
    labels: str | Path | None = None,
    budget: str = "5m",
    pictures: int = 4096,
    views: int = 4096,
    batch_size: int = 32,
    lr: float = 3e-4,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
    log: Log | None = None,
) -> dict[str, Any]:
    """A model folder that says what `teacher` (one that `adapt` made) says, at a part of the cost, learned from the
    pictures of `data`; labels are not needed. Both are then asked about pictures that it did not learn from (the test
    part, where the data have one): with `labels` ("auto" or a table) accuracy is told of both.

    Writes a run folder, resumes it, and returns its results. Raises UserError for a teacher that is another kind of
    model, and for fewer than 40 pictures to learn from.
    """
    log, out, data = log or Log(quiet=True), Path(out), Path(data)
    settings = Distil(student, budget, pictures, views, batch_size, lr).check()
    refuse_inside(out, data)
    source, bundle = read_source(data, labels=labels), load_own(teacher)
    picked, limits = pick_device(device, threads), Limits(max_pixels)
    asked = {"recipe": "distil", "teacher": str(teacher), "data": str(data), "labels": str(labels), "seed": seed}
    with RunFolder.open(out, {**asked, **to_json(settings)}, log) as run:
        original = open_exportable(bundle, (), pick_device("cpu", threads))
        chosen = choose_pictures(source, data, labels, original.labels, limits, settings.pictures, log)
        sitting = Sitting(data, settings, seed, run, picked, limits, log)
        lesson = _prepare(sitting, bundle, chosen)
        network, told = _teach(sitting, bundle, lesson)
        made = build_student(bundle, network, SIDES[settings.student], "")
        made.facts.update(made_by=f"beholder {VERSION} distil", teacher=str(teacher))
        if made.model.usual is not None:
            said = network.projection(describe_all(network, lesson.asked.pixels, bundle.pixels, picked))
            move_levels(made, said, lesson.asked.embeddings)
        model = out / "model"
        with told_kindly(out):
            made.save(model)
        compared = _compare(original, str(teacher), model, chosen, picked.num_threads, log)
        title = f"student, {student}"
        log.line(compared.table(title))
        with told_kindly(out):
            write_text(model / "README.md", _card(str(teacher), settings, told, compared.table(title), compared))
        results = {**told, "num_learned": len(lesson.learned.pixels), **compared.findings()}
        run.finish(results)
    log.stage("Model", str(model))
    return results


def _prepare(sitting: Sitting[Distil], teacher: Bundle, pictures: Pictures) -> _Lesson:
    settings, log = sitting.settings, sitting.log
    samples = [sample for sample, _ in decoded(pictures.others[: settings.pictures], sitting.limits)]
    if len(samples) < FEWEST:
        raise UserError(
            f"{sitting.data} leaves {counted(len(samples), 'picture')} to learn from, of {FEWEST} that are needed; "
            "give more."
        )
    num_asked = round(_SHARE_ASKED * len(samples))
    learned, asked = samples[num_asked:], samples[:num_asked]
    num_views = min(4, max(1, settings.views // len(learned)))
    log.stage("Look", f"{counted(len(learned), 'picture')} to learn from in {counted(num_views, 'view')} each, "
                      f"{num_asked:,} to choose by")  # fmt: skip
    if not sitting.run.is_resumed:
        _tell_of_time(sitting, teacher, pictures, num_views * len(learned) + num_asked)
    views = [_look(sitting, teacher, *one) for one in ((learned, num_views, "learned"), (asked, 1, "asked"))]
    head = copy.deepcopy(teacher.model.head)
    return _Lesson(views[0], views[1], Distillation(views[0].embeddings, head))


def _tell_of_time(sitting: Sitting[Distil], teacher: Bundle, pictures: Pictures, num_looks: int) -> None:
    settings = sitting.settings
    teacher.model.to(sitting.device.torch_device)
    each = guess_seconds(lambda images: embed_arrays(teacher, list(images), sitting.device), pictures.first)
    budget = parse_budget(settings.budget)
    looking, comparing = each * num_looks, 2 * each * len(pictures.judged)
    training = f"{budget.steps:,} steps" if budget.seconds is None else duration(budget.seconds)
    fewer = "--views" if num_looks > len(pictures.others[: settings.pictures]) else "--pictures"
    total = "" if budget.seconds is None else f"about {duration(looking + comparing + budget.seconds)}: "
    sitting.log.stage(
        "Estimate",
        f"{total}{duration(looking)} to look {num_looks:,} times (fewer by {fewer}), {training} to train "
        f"(--budget), {duration(comparing)} to compare",
    )


def _look(sitting: Sitting[Distil], teacher: Bundle, samples: list[Sample], num_views: int, name: str) -> Views:
    with sitting.run.charged(f"looking, {name}"):
        return look(
            teacher, samples, num_views, SIDES[sitting.settings.student], sitting.run.scratch(f"views-{name}"),
            sitting.device, sitting.limits, derive(sitting.seed, "views"), sitting.log, "Look",
        )  # fmt: skip


def _teach(sitting: Sitting[Distil], teacher: Bundle, lesson: _Lesson) -> tuple[StudentNetwork, dict[str, Any]]:
    """The better of the backbone as it was and as it learned, each with its own map."""
    settings, log, device = sitting.settings, sitting.log, sitting.device

    def mapped(network: StudentNetwork) -> Mapped:
        return fit_map(network, lesson.learned, lesson.asked, lesson.objective, teacher.pixels, device)

    first = mapped(begin(teacher))
    network = begin(teacher, first.projection)

    def stream(batch_size: int) -> ImageStream:
        return _stream(lesson.learned, batch_size, teacher, sitting.seed)

    timed = steps_for(settings, network, lesson.objective, stream, device, "--batch-size")
    steps = int(sitting.run.resolve("num_steps", lambda: timed.steps))
    log.stage("Train", f"{steps:,} steps; before, {_loss(first)}")
    plan = plan_for(settings.lr, steps, derive(sitting.seed, "train"))
    fit_stage(sitting, network, lesson.objective, stream(settings.batch_size), plan, stage=_STAGE, unit="")
    second = mapped(network)
    told = {
        "steps": steps,
        "loss_before": first.loss,
        "loss_after": second.loss,
        "is_trained": second.loss < first.loss,
    }
    log.stage("Choose", f"after it, {_loss(second)}" + ("" if told["is_trained"] else "; the backbone stays as it was"))
    if not told["is_trained"]:
        return begin(teacher, first.projection).cpu().eval(), told
    return StudentNetwork(network.backbone, second.projection).cpu().eval(), told


def _loss(found: Mapped) -> str:
    return f"{found.loss:.3f} away from the teacher, where 1 is as far as its mean, on pictures that choose"


def _stream(views: Views, batch_size: int, teacher: Bundle, seed: int) -> ImageStream:
    """The views as they are: the teacher was asked about these."""
    still = AugmentConfig(
        size=views.pixels.shape[2], crop_area=(1.0, 1.0), crop_ratio=(1.0, 1.0), horizontal_flip=0.0, jitter=0.0,
        grey=0.0, blur=0.0, mean=teacher.pixels.mean, std=teacher.pixels.std,
    )  # fmt: skip
    return ImageStream(
        views.pixels, batch_size=min(batch_size, len(views.pixels)), num_views=1, augmentation=still,
        seed=derive(seed, "stream"),
    )  # fmt: skip


def _compare(
    original: Exportable, teacher: str, model: Path, pictures: Pictures, threads: int, log: Log
) -> BeforeAfter:
    student = open_exportable(load_bundle(model), (), pick_device("cpu", threads))
    comparison = compare_on(pictures, original, student.ask, log, student.threshold)
    speeds = time_in_turn(
        [lambda images: original.ask(list(images)), lambda images: student.ask(list(images))], pictures.first
    )
    peaks = [memory_of_original(one, (), pictures.first, threads) for one in (teacher, str(model))]
    before, after = (Weight(*one) for one in zip((original.num_bytes, student.num_bytes), speeds, peaks, strict=True))
    return BeforeAfter(before, after, comparison)


def _card(teacher: str, settings: Distil, told: dict[str, Any], table: str, compared: BeforeAfter) -> str:
    learned = f"after {told['steps']:,} steps" if told["is_trained"] else "as the teacher's (training it did not help)"
    return f"""# A {settings.student} student of {teacher}

Made by beholder {VERSION}, `distil`: one backbone that sees squares of {SIDES[settings.student]} pixels, {learned}, and
the teacher's classes and notion of the usual.

On {compared.comparison.num_pictures} pictures that it did not learn from, beside its teacher ("before"):

```text
{table}
```
"""
