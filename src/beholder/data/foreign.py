"""Formats that other tools write: recognised and named, so that the user knows what is used of them and what is not."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from pathlib import Path, PurePosixPath

from beholder.data.listing import Listing
from beholder.types import UserError

MASK_FOLDERS = frozenset(
    {"mask", "masks", "ground_truth", "gt", "segmentation", "segmentations", "labels", "annotations"}
)
_SNIFFED_BYTES = 65_536
_BOX_LINE = re.compile(r"\s*\d+(\s+-?\d*\.?\d+([eE][-+]?\d+)?){4,}\s*")


def recognise(listing: Listing) -> list[str]:
    """Sentences about formats whose images are read and whose annotations are not.

    Raises UserError for a folder that holds only webdataset tars.
    """
    tars = [key for key in listing.others if key.lower().endswith((".tar", ".tar.gz", ".tgz"))]
    if tars and not listing.images:
        raise UserError(
            f"{listing.folder} holds tar files (webdataset), such as {tars[0]}, whose images are not read yet; "
            f"unpack them first: tar -xf {tars[0]}."
        )
    notes = [f"{len(tars)} tar files (webdataset?) are not read; unpack them to use their images"] if tars else []
    jsons = [path for key, path in listing.others.items() if key.endswith((".json", ".jsonl"))][:20]
    kinds = {kind for path in jsons if (kind := _json_kind(path))}
    if "COCO" in kinds:
        notes.append("this looks like COCO; its boxes and masks are not read yet, its images are")
    if "LLaVA" in kinds:
        notes.append("this looks like LLaVA conversations; the conversations are not read yet, the images are")
    if _is_yolo(listing):
        notes.append("this looks like YOLO; its boxes are not read yet, its images are")
    return notes


def find_masks(listing: Listing) -> tuple[frozenset[str], list[str]]:
    """Keys of pictures in mask folders (`masks/x.png` beside `images/x.jpg`, MVTec's `ground_truth/`), and a note.

    A folder is one of masks when its name says so and most of its files share their stem (an added _mask, _gt or
    _seg aside) with a picture elsewhere.
    """
    folders: dict[str, list[str]] = {}
    for key in listing.images:
        parts = key.split("/")[:-1]
        depth = next((index for index, part in enumerate(parts) if part.lower() in MASK_FOLDERS), None)
        if depth is not None:
            folders.setdefault("/".join(parts[: depth + 1]), []).append(key)
    inside = {key for keys in folders.values() for key in keys}
    stems = {_stem(key) for key in listing.images if key not in inside}
    found = {
        folder: keys for folder, keys in folders.items() if sum(_stem(key) in stems for key in keys) > len(keys) / 2
    }
    notes = [f"{folder}/ holds masks: its {len(keys):,} pictures are no samples" for folder, keys in found.items()]
    return frozenset(key for keys in found.values() for key in keys), notes


def texts_beside(listing: Listing) -> tuple[dict[str, str], list[str]]:
    """Text by image key for `x.png` + `x.txt` pairs, if half of the images have one and it is no box file; and what is
    to be told of texts that cannot be used."""
    pairs = {key: listing.others[name] for key in listing.images if (name := _text_name(key)) in listing.others}
    if not pairs or len(pairs) < len(listing.images) / 2:
        return {}, []
    read = {key: _read_text(path) for key, path in pairs.items()}
    texts = {key: text for key, text in read.items() if text}
    if _are_boxes(list(texts.values())):
        return {}, []
    garbled = [pairs[key].name for key, text in read.items() if text is None]
    notes = [f"texts that are not UTF-8 and were left out: {len(garbled):,}, such as {garbled[0]}; save them again as "
             "UTF-8"] if garbled else []  # fmt: skip
    return texts, notes


def _text_name(key: str) -> str:
    return str(PurePosixPath(key).with_suffix(".txt"))


def _stem(key: str) -> str:
    return re.sub(r"[_-](mask|gt|seg|label)$", "", PurePosixPath(key).stem.lower())


def _json_kind(path: Path) -> str | None:
    start = _read_start(path)
    if b'"conversations"' in start and b'"image"' in start:
        return "LLaVA"
    if b'"images"' in start and (b'"annotations"' in start or b'"categories"' in start or b'"file_name"' in start):
        return "COCO"
    return None


def _is_yolo(listing: Listing) -> bool:
    for key, path in listing.others.items():
        if key.lower().endswith((".yaml", ".yml")) and re.search(rb"(?m)^names\s*:", _read_start(path)):
            return True
    texts = [path for key, path in listing.others.items() if key.endswith(".txt")]
    stems = Counter(_stem(key) for key in listing.images)
    boxes = [path for path in texts if path.stem.lower() in stems][:20]
    return bool(boxes) and _are_boxes([_read_start(path).decode("utf-8", "replace") for path in boxes])


def _are_boxes(texts: list[str]) -> bool:
    """YOLO lines: a class number and four or more coordinates."""
    lines = [line for text in texts[:50] for line in text.splitlines() if line.strip()]
    return bool(lines) and all(_BOX_LINE.fullmatch(line) for line in lines)


def _read_text(path: Path) -> str | None:
    """The beginning, without space around it; None where it is no UTF-8."""
    start = _read_start(path)
    try:  # a letter that the end cuts off is left out
        text, _ = codecs.utf_8_decode(start, "strict", len(start) < _SNIFFED_BYTES)
    except UnicodeDecodeError:
        return None
    return text.lstrip("\ufeff").strip()


def _read_start(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            return handle.read(_SNIFFED_BYTES)
    except OSError:
        return b""
