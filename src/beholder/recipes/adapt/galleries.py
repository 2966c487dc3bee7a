"""Stage: what the shipped model gets right and wrong, where it looked, what it finds unusual: pictures and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from beholder.data.decode import Limits
from beholder.data.parallel import decoded
from beholder.evaluate.deletion import deletion_test
from beholder.pretrained.bundle import Bundle
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.pictures import overlay, thumbnail
from beholder.recipes.adapt.unusual import FALSE_ALARM_RATE, Unusual
from beholder.runtime.device import Device
from beholder.runtime.seed import numpy_generator
from beholder.tasks.embed import embed_arrays
from beholder.tasks.explain import heat_maps

NUM_SHOWN = 8
NUM_DELETED = 32
"""Test images on which the heat maps are checked."""
_BATCH_SIZE = 8
_SURE = 1.645
"""Standard deviations that a normal value exceeds by chance in one case of 20."""


class Album:
    """Pictures of the report by id; every image is decoded once."""

    def __init__(self, domain: Domain, limits: Limits, num_workers: int) -> None:
        self._domain, self._limits, self._num_workers = domain, limits, num_workers
        self._images: dict[int, np.ndarray] = {}
        self.pictures: dict[str, bytes] = {}

    def images(self, rows: Sequence[int]) -> list[np.ndarray]:
        """Decoded images of these rows; kept for later calls."""
        missing = [row for row in dict.fromkeys(rows) if row not in self._images]
        samples = [self._domain.samples[row] for row in missing]
        self._images.update(zip(missing, decoded(samples, self._limits, self._num_workers, at_least=300), strict=True))
        return [self._images[row] for row in rows]

    def show(self, rows: Sequence[int]) -> list[str]:
        """Ids of the rows' thumbnails."""
        names = [f"image-{row}" for row in rows]
        for name, image in zip(names, self.images(rows), strict=True):
            if name not in self.pictures:
                self.pictures[name] = thumbnail(image)
        return names

    def show_heat(self, rows: Sequence[int], heat: np.ndarray, kind: str) -> list[str]:
        """Ids of the rows' heat maps."""
        names = [f"heat-{kind}-{row}" for row in rows]
        for name, image, map_ in zip(names, self.images(rows), heat, strict=True):
            self.pictures[name] = overlay(image, map_)
        return names


def answer_gallery(
    domain: Domain, bundle: Bundle, test: np.ndarray, probabilities: np.ndarray, album: Album, device: Device
) -> dict[str, Any]:
    """Confident right answers, of all classes in turn, and the most confident wrong ones, with heat maps."""
    predicted, labels = probabilities.argmax(1), domain.labels[test]
    confidence = probabilities.max(1)
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:NUM_SHOWN]
    right = _in_turn(np.flatnonzero(predicted == labels), labels, confidence)[:NUM_SHOWN]
    return {
        name: _cards(domain, bundle, test, chosen, probabilities, album, device)
        for name, chosen in (("right", right), ("wrong", wrong))
    }


def _cards(
    domain: Domain,
    bundle: Bundle,
    test: np.ndarray,
    chosen: np.ndarray,
    probabilities: np.ndarray,
    album: Album,
    device: Device,
) -> list[dict[str, Any]]:
    if not len(chosen):
        return []
    rows, classes = test[chosen].tolist(), probabilities[chosen].argmax(1)
    heat = heat_maps(bundle, album.images(rows), classes.tolist(), device)
    shown = zip(rows, chosen, classes, album.show(rows), album.show_heat(rows, heat, "answer"), strict=True)
    return [
        {
            "key": domain.samples[row].key,
            "picture": picture,
            "heat": heat_picture,
            "label": domain.classes[domain.labels[row]],
            "predicted": domain.classes[index],
            "probability": float(probabilities[place, index]),
        }
        for row, place, index, picture, heat_picture in shown
    ]


def check_heat(
    domain: Domain, bundle: Bundle, test: np.ndarray, probabilities: np.ndarray, album: Album, device: Device, seed: int
) -> dict[str, Any]:
    """The deletion test of the heat maps on a sample of the test part."""
    generator = numpy_generator(seed, "deletion")
    places = np.sort(generator.choice(len(test), min(NUM_DELETED, len(test)), replace=False))
    images, classes = album.images(test[places].tolist()), probabilities[places].argmax(1)
    heat = heat_maps(bundle, images, classes.tolist(), device)

    def predict(batch: Sequence[np.ndarray]) -> np.ndarray:
        parts = [batch[first : first + _BATCH_SIZE] for first in range(0, len(batch), _BATCH_SIZE)]
        return np.concatenate(
            [bundle.model.classify(embed_arrays(bundle, part, device).clone()).cpu().numpy() for part in parts]
        )

    deletion = deletion_test(images, heat, classes, predict, generator)
    chance = 0.5 + 0.5 * _SURE / np.sqrt(deletion.num_images)  # what a fair coin does not exceed in 19 of 20 cases
    is_larger = deletion.important_drop > 1.25 * max(deletion.random_drop, 0) + 0.01
    verb = "do" if is_larger and deletion.share_better > chance else "do not clearly"
    sentence = (
        f"The heat maps {verb} show what the model uses: deleting the hottest fifth of a picture costs the answer "
        f"{100 * deletion.important_drop:.0f} points of probability, deleting a random fifth "
        f"{100 * deletion.random_drop:.0f}."
    )
    told = asdict(deletion)
    num = told.pop("num_images")
    return {"sentence": sentence, "deletion": {**told, "num": num}}


def unusual_gallery(domain: Domain, unusual: Unusual, album: Album) -> dict[str, Any]:
    """The images farthest from the usual, over the whole folder."""
    rows = np.argsort(-unusual.distance, kind="stable")[: 2 * NUM_SHOWN].tolist()
    names = album.show(rows)
    reference = f"images labelled {domain.normal!r}" if domain.normal in domain.classes else "training images"
    count = int((unusual.distance > unusual.threshold).sum())
    sentence = (
        f"{count:,} of {len(unusual.distance):,} images lie beyond the threshold, which was set on "
        f"{unusual.num_reference:,} {reference} so that it calls at most {FALSE_ALARM_RATE:.0%} of such images unusual."
    )
    items = [
        {
            "key": domain.samples[row].key,
            "picture": name,
            "heat": None,
            "score": float(unusual.distance[row]),
            "p_value": float(unusual.p_value[row]),
            "label": domain.samples[row].label,
        }
        for row, name in zip(rows, names, strict=True)
    ]
    threshold = unusual.threshold
    return {
        "sentence": sentence,
        "threshold": threshold if np.isfinite(threshold) else None,
        "false_alarm_rate": FALSE_ALARM_RATE,
        "auroc": unusual.auroc,
        "num_reference": unusual.num_reference,
        "items": items,
    }


def _in_turn(rows: np.ndarray, labels: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """The most confident of each class first, then the second of each, and so on."""
    rank = np.zeros(len(rows), int)
    for label in np.unique(labels[rows]):
        members = np.flatnonzero(labels[rows] == label)
        rank[members[np.argsort(-confidence[rows[members]], kind="stable")]] = np.arange(len(members))
    return rows[np.lexsort((labels[rows], rank))]
