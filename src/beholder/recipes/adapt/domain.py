"""Stage: read and curate; the result is the domain as all later stages see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from beholder.data.curate import Curation, curate
from beholder.data.decode import Limits
from beholder.data.sources import Source, read_source
from beholder.data.split import can_judge, combine_groups, grouped_folds
from beholder.evaluate.label_curve import Fold
from beholder.recipes.adapt.settings import AdaptConfig
from beholder.recipes.same_pictures import identify, refuse_changed
from beholder.runtime.log import Log
from beholder.runtime.run_folder import RunFolder
from beholder.types import Sample, UserError

NUM_FOLDS = 4
"""One of them is the test part; with --thorough each is, in turn."""
MIN_LABELS_PER_CLASS = 2
_NORMAL_NAMES = ("good", "normal", "ok", "pass", "free", "functional", "healthy", "negative", "no defect", "0")


@dataclass(frozen=True)
class Domain:
    """Curated images, their labels as numbers, and who may be judged by whom."""

    source: Source
    curation: Curation
    classes: tuple[str, ...]
    labels: Int[np.ndarray, " n"]
    """-1 where there is none, or where its class has a single example."""
    groups: Int[np.ndarray, " n"]
    """The user's groups joined with duplicate groups: what never straddles a split."""
    folds: tuple[Fold, ...]
    """Over labelled images; the first one makes the model that is shipped."""
    normal: str | None
    """The class that counts as normal."""
    group_source: str
    notes: tuple[str, ...]

    @property
    def samples(self) -> tuple[Sample, ...]:
        return self.curation.samples

    @property
    def quality(self) -> Float[np.ndarray, "n M"]:
        return self.curation.quality

    @property
    def is_labelled(self) -> Bool[np.ndarray, " n"]:
        return self.labels >= 0

    @property
    def is_judged(self) -> bool:
        """Whether there are labels enough for a curve: all classes to learn, and two to be judged by."""
        return self.why_not_judged is None

    @property
    def why_not_judged(self) -> str | None:
        """What keeps the labels from judging, as a clause for people; None where nothing does."""
        if not self.classes:
            return _too_few_classes(self.samples)
        return _too_few_groups(self.samples, self.labels, self.groups, self.classes, self.folds[0])

    def training_images(self, fold: int) -> Int[np.ndarray, " m"]:
        """All images, labelled or not, that share no group with the fold's test part."""
        tested = np.unique(self.groups[self.folds[fold].test])
        return np.flatnonzero(~np.isin(self.groups, tested))


def read_domain(config: AdaptConfig, run: RunFolder, limits: Limits, num_workers: int, log: Log) -> Domain:
    """Read, curate and split. Raises UserError when the folder is unusable or has changed since the run was begun."""
    source = read_source(Path(config.photos), labels=config.labels, group=config.group)
    log.stage("Read", source.description)
    for note in source.notes:
        log.warn(note)
    if config.normal is not None:  # before the long look at all images; curation may leave out classes later
        _check_normal(config.normal, sorted({sample.label for sample in source.samples if sample.label is not None}))
    curation = curate(
        source,
        run.scratch("survey"),
        limits=limits,
        num_workers=num_workers,
        log=log,
        quarantine_file=run.path / "quarantine.jsonl",
    )
    log.stage("Curate", _curation_sentence(curation))
    domain = _build(config, source, curation)  # it may refuse; what is resolved below binds the run folder
    found = identify(curation.samples)
    refuse_changed(run, config.photos, run.resolve("images", lambda: found), found)
    for note in domain.notes:
        log.warn(note)
    return domain


def _build(config: AdaptConfig, source: Source, curation: Curation) -> Domain:
    notes = list(curation.notes)
    samples = curation.samples
    counts = Counter(sample.label for sample in samples if sample.label is not None)
    for name, count in sorted(counts.items()):
        if count < MIN_LABELS_PER_CLASS:
            notes.append(f"class {name!r} has a single example, so it cannot be learned and judged; it is left out")
    classes = tuple(sorted(name for name, count in counts.items() if count >= MIN_LABELS_PER_CLASS))
    if len(counts) == 1:
        notes.append(f"all labels are {next(iter(counts))!r}; a curve needs two classes, so nothing is classified")
    if len(classes) < 2:
        classes = ()
    number = {name: index for index, name in enumerate(classes)}
    labels = np.array([number.get(sample.label or "", -1) for sample in samples], dtype=np.int64)
    user_groups, group_source = _groups(samples, source)
    groups = combine_groups(user_groups, curation.cluster)
    folds, split_notes = _folds(config, samples, labels, groups, classes)
    notes += split_notes
    if classes and (why := _too_few_groups(samples, labels, groups, classes, folds[0])):
        notes.append(f"classification is not judged: {why}; {_remedy(samples, folds[0])}")
    normal = _normal_class(config, source, classes)
    return Domain(source, curation, classes, labels, groups, folds, normal, group_source, tuple(notes))


def _can_judge(fold: Fold, labels: np.ndarray, num_classes: int) -> bool:
    parts = (np.bincount(labels[part], minlength=num_classes) > 0 for part in (fold.test, fold.train))
    return bool(can_judge(*parts))


def _too_few_classes(samples: tuple[Sample, ...]) -> str:
    names = {sample.label for sample in samples if sample.label is not None}
    if not names:
        return "there are no labels to judge by"
    if len(names) == 1:
        return f"all labels are {next(iter(names))!r}, and judging takes two classes"
    return "no two classes have two images each"


def _too_few_groups(
    samples: tuple[Sample, ...], labels: np.ndarray, groups: np.ndarray, classes: tuple[str, ...], fold: Fold
) -> str | None:
    if _can_judge(fold, labels, len(classes)):
        return None
    if not len(fold.test):
        return "all labelled images are one group, so none can be kept apart"
    if all(samples[index].split == "test" for index in fold.test):
        learned = set(labels[fold.train].tolist())
        missing = [name for index, name in enumerate(classes) if index not in learned]
        if missing:
            return (
                f"{_listed(missing)} cannot be learned: the source's own test part, with its groups, has all its labels"
            )
        return "the source's own test part holds labels of one class only"
    confined = [name for index, name in enumerate(classes) if len(np.unique(groups[labels == index])) == 1]
    if confined:
        return f"{_listed(confined)} lies in one group only, which cannot be both learned from and judged by"
    return "the labelled groups cannot be parted so that both sides hold the classes"


def _remedy(samples: tuple[Sample, ...], fold: Fold) -> str:
    if len(fold.test) and all(samples[index].split == "test" for index in fold.test):
        return "--thorough makes folds of all images instead"
    return "label images of each class in several groups"


def _listed(names: list[str]) -> str:
    if len(names) > 3:
        return f"each of {len(names)} classes"
    return ("each of the classes " if len(names) > 1 else "class ") + ", ".join(map(repr, names))


def _groups(samples: tuple[Sample, ...], source: Source) -> tuple[np.ndarray, str]:
    names = {name: index for index, name in enumerate(sorted({s.group for s in samples if s.group is not None}))}
    if not names:
        return np.arange(len(samples)), "grouped by near-duplicates only (if images come in series, name --group)"
    own = len(names)
    groups = [names[s.group] if s.group is not None else own + index for index, s in enumerate(samples)]
    return np.array(groups), f"grouped by {source.group_source or 'the source'}"


def _folds(
    config: AdaptConfig, samples: tuple[Sample, ...], labels: np.ndarray, groups: np.ndarray, classes: tuple[str, ...]
) -> tuple[tuple[Fold, ...], list[str]]:
    """The source's own test part if it has one, else grouped folds made here; indices are of labelled images.

    Without labels the folds are made of all images, so that pretraining still keeps a part unseen.
    """
    judged = np.flatnonzero(labels >= 0) if classes else np.arange(len(samples))
    given = np.array([samples[index].split == "test" for index in judged])
    notes = []
    if given.any() and not given.all() and config.thorough:
        notes = ["the source's own test part is not kept apart: --thorough makes its own folds"]
    elif given.any() and not given.all():
        tested = np.unique(groups[judged[given]])
        leaks = np.isin(groups[judged], tested) & ~given
        notes = ["the source's own test part is kept"]
        if leaks.any():
            notes.append(
                f"{int(leaks.sum()):,} training images share a group or are near-duplicates of test images; "
                "they are left out of training"
            )
        return (Fold(judged[~given & ~leaks], judged[given]),), notes
    folds = _deal(judged, labels, groups, classes, config.seed)
    if not folds:  # one group, or one image: nothing can be kept apart
        notes += [] if classes else ["all images are one group, so none can be kept apart"]
        return (Fold(judged, judged[:0]),), notes
    return (tuple(folds) if config.thorough else tuple(folds[:1])), notes


def _deal(
    judged: np.ndarray, labels: np.ndarray, groups: np.ndarray, classes: tuple[str, ...], seed: int
) -> list[Fold]:
    """Folds with something on both sides, the best to judge by first; fewer and larger ones where only they hold the
    classes."""
    names = [classes[labels[index]] if classes else None for index in judged]
    deals: list[list[Fold]] = []
    for num_folds in (NUM_FOLDS, 3, 2):
        fold_of = grouped_folds(names, groups[judged], num_folds, seed)
        folds = [Fold(judged[fold_of != k], judged[fold_of == k]) for k in range(num_folds)]
        deals.append([fold for fold in folds if len(fold.test) and len(fold.train)])
        if not classes or (deals[-1] and _can_judge(deals[-1][0], labels, len(classes))):
            return deals[-1]
    return deals[0]


def _check_normal(normal: str, classes: Sequence[str]) -> None:
    if not classes:
        raise UserError(f"--normal {normal}: there are no classes here; name labels of two classes with --labels.")
    if normal not in classes:
        raise UserError(f"--normal {normal}: not a class here; the classes are {', '.join(classes)}.")


def _normal_class(config: AdaptConfig, source: Source, classes: tuple[str, ...]) -> str | None:
    if config.normal is not None:
        _check_normal(config.normal, classes)
        return config.normal
    if source.normal_label is not None:
        return source.normal_label
    return next((name for wanted in _NORMAL_NAMES for name in classes if name.lower() == wanted), None)


def _curation_sentence(curation: Curation) -> str:
    kept, refused = len(curation.samples), len(curation.quarantine)
    parts = [f"{kept:,} images kept", f"{refused:,} quarantined"]
    if curation.duplicates:
        doubles = sum(len(group.keys) for group in curation.duplicates)
        parts.append(f"{doubles:,} in {len(curation.duplicates):,} groups of duplicates")
    if curation.conflicts:
        parts.append(f"{len(curation.conflicts):,} groups with conflicting labels")
    if curation.outliers:
        parts.append(f"{len(curation.outliers):,} unusual in light, sharpness or size")
    return ", ".join(parts)
