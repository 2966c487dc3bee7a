"""A model of masked pictures, ready to be asked: its trunk, its codec, its classes and words on one device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from beholder.data.holes import cells_of, fill_smoothly, patch_in
from beholder.inference.unmask import UnmaskConfig, unmask
from beholder.models.maskgit import MaskGIT
from beholder.pretrained.part_folder import MASKED, Part
from beholder.runtime.device import Device
from beholder.runtime.memory import in_memory
from beholder.tasks.picture_codes import PictureCodes
from beholder.tokenizers.captions import Captions
from beholder.types import UserError

ROWS_AT_ONCE = 64
USUAL = UnmaskConfig()


@dataclass(frozen=True)
class Wish:
    """What a picture is asked to show; nothing where both are None."""

    label: str | None = None
    """One of the model's classes."""
    prompt: str | None = None
    """What it shows, in words."""

    @property
    def is_empty(self) -> bool:
        return self.label is None and self.prompt is None


@dataclass(frozen=True)
class MaskedPictures:
    """What tells hidden codes of pictures."""

    model: MaskGIT
    pictures: PictureCodes
    labels: tuple[str, ...]
    """The classes by number."""
    captions: Captions | None
    """What reads prompts; None: the model reads none."""
    device: Device

    @property
    def num_places(self) -> int:
        """Codes of a picture."""
        return self.pictures.grid[0] * self.pictures.grid[1]

    def paint(
        self,
        wishes: Sequence[Wish],
        config: UnmaskConfig = USUAL,
        seed: int = 0,
        num_at_once: int = ROWS_AT_ONCE,
    ) -> Int[np.ndarray, "B codes"]:
        """Codes of a picture for each wish, from nothing. Arguments as of `tell`."""
        codes = np.zeros((len(wishes), self.num_places), np.int64)
        return self.tell(codes, np.ones_like(codes, bool), wishes, config, seed, num_at_once)

    def tell(
        self,
        codes: Int[np.ndarray, "B codes"],
        is_hidden: Bool[np.ndarray, "B codes"],
        wishes: Sequence[Wish],
        config: UnmaskConfig = USUAL,
        seed: int = 0,
        num_at_once: int = ROWS_AT_ONCE,
    ) -> Int[np.ndarray, "B codes"]:
        """The codes with the hidden ones told. Row r draws with seed `seed` + r: it is the same beside others as alone.
        Raises UserError for a class or words that the model does not know, and where `num_at_once` rows do not
        fit into memory, with how many do."""
        asked = self._asked(wishes)
        told: list[np.ndarray] = []
        while (first := sum(map(len, told))) < len(codes):

            def tell_some(count: int, first: int = first) -> np.ndarray:
                rows = slice(first, first + count)
                given = torch.from_numpy(codes[rows]), torch.from_numpy(is_hidden[rows])
                seeds = range(seed, seed + len(codes))[rows]
                there = self.device.torch_device
                with self.device.autocast():
                    found = unmask(
                        self.model, given[0].to(there), given[1].to(there), config, seeds,
                        **{name: values[rows].to(there) for name, values in asked.items()},
                    )  # fmt: skip
                return found.cpu().numpy()

            told.append(in_memory(tell_some, min(num_at_once, len(codes) - first), "pictures", "--batch-size"))
        return np.concatenate(told) if told else codes

    def mend(
        self,
        squares: UInt8[np.ndarray, "B S S 3"],
        holes: Bool[np.ndarray, "B S S"],
        wishes: Sequence[Wish],
        config: UnmaskConfig = USUAL,
        seed: int = 0,
        num_at_once: int = ROWS_AT_ONCE,
    ) -> UInt8[np.ndarray, "B S S 3"]:
        """Squares of the codec's side with something else in their holes; outside of these they stay as they are.

        The codec reads each square with its hole filled smoothly, so that what lies in the hole tells nothing; codes of
        cells without a hole are known, the others are told. Arguments as of `tell`.
        """
        filled = np.stack([_fill(square, hole) for square, hole in zip(squares, holes, strict=True)])
        is_hidden = np.stack([cells_of(hole, self.pictures.grid) for hole in holes])
        codes = self.tell(self.pictures.encode(filled), is_hidden, wishes, config, seed, num_at_once)
        painted = self.pictures.decode(codes)
        return np.stack([patch_in(*three) for three in zip(squares, painted, holes, strict=True)])

    def nats(
        self, codes: Int[np.ndarray, "B codes"], is_hidden: Bool[np.ndarray, "B codes"], wishes: Sequence[Wish]
    ) -> Float[np.ndarray, " B"]:
        """Mean nats of each row's hidden codes, given the others."""
        asked, found = self._asked(wishes), []
        for first in range(0, len(codes), ROWS_AT_ONCE):
            rows, there = slice(first, first + ROWS_AT_ONCE), self.device.torch_device
            given = (torch.from_numpy(part[rows]).to(there) for part in (codes, is_hidden))
            told = {name: values[rows].to(there) for name, values in asked.items()}
            with torch.inference_mode(), self.device.autocast():
                found.append(self.model.losses(*given, **told).sum(1).float().cpu().numpy())
        return np.concatenate(found) / is_hidden.sum(1).clip(1)

    def _asked(self, wishes: Sequence[Wish]) -> dict[str, Tensor]:
        """As the model reads them. Nothing where nobody asks for anything, which costs no guidance."""
        asked: dict[str, Tensor] = {}
        if any(wish.label is not None for wish in wishes):
            numbers = [self.model.no_class if wish.label is None else self.number_of(wish.label) for wish in wishes]
            asked["classes"] = torch.tensor(numbers)
        if any(wish.prompt is not None for wish in wishes):
            if self.captions is None:
                raise UserError("This model was trained without captions and reads no prompt; ask by label.")
            asked["captions"] = torch.from_numpy(self.captions.encode([wish.prompt or "" for wish in wishes]))
        return asked

    def number_of(self, label: str) -> int:
        """Of a class. Raises UserError for one that the model did not learn."""
        if label in self.labels:
            return self.labels.index(label)
        if not self.labels:
            raise UserError(f"--label {label}: this model was trained without classes; leave the label out.")
        shown = ", ".join(self.labels[:12]) + (", ..." if len(self.labels) > 12 else "")
        raise UserError(f"--label {label}: not one of the {len(self.labels)} classes; choose from {shown}")

    def check(self, wish: Wish) -> list[str]:
        """What the user is told of a wish. Raises UserError where it cannot be read."""
        self._asked([wish])
        return self.captions.check(wish.prompt) if self.captions is not None and wish.prompt is not None else []


def open_masked(part: Part, device: Device) -> MaskedPictures:
    """The part on the device. Raises UserError for a part of another kind, and where its codec is absent or another."""
    if part.kind != MASKED or not isinstance(part.model, MaskGIT):
        raise UserError(
            f"{part.source} is a model of the kind {part.kind!r}, and this needs one of masked pictures; name the "
            "model/ of a run of `beholder train masked`."
        )
    pictures, config = PictureCodes(part.need_codec(), device), part.config
    if (pictures.num_codes, pictures.grid) != (config.num_codes, config.grid):
        raise UserError(f"{part.source}: the model reads other codes than its tokenizer writes; copy the folder again.")
    captions = part.need_captions() if config.num_words else None
    labels = tuple(map(str, part.facts.get("labels", ())))
    if len(labels) != config.num_classes:
        raise UserError(
            f"{part.source}: config.json names {len(labels)} classes and the model has {config.num_classes}; copy the "
            "folder again."
        )
    return MaskedPictures(part.model.to(device.torch_device).eval(), pictures, labels, captions, device)


def _fill(square: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Grey where nothing at all is known."""
    if hole.all():
        return np.full_like(square, 127)
    return np.clip(np.rint(fill_smoothly(square.astype(np.float64), hole)), 0, 255).astype(np.uint8)
