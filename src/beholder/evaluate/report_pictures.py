"""The pictures of a report: each is stored once in the page, however often it is shown."""

from __future__ import annotations

import base64
import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from beholder.evaluate.markup import Child, Markup, join, tag
from beholder.evaluate.report_values import words


@dataclass(frozen=True)
class Picture:
    """An encoded image that a browser can show."""

    name: str
    """From the content, so that the same bytes under two ids are one picture."""
    address: str
    """A data URI."""
    width: int
    height: int


@dataclass(frozen=True)
class Album:
    """Pictures by id, with those that the page shows more than once."""

    pictures: Mapping[str, Picture]
    repeated: frozenset[str]
    """Names of pictures that are stored as symbols and shown by reference."""


def open_album(results: Mapping[str, Any], pictures: Mapping[str, bytes]) -> Album:
    """The pictures that `results` mentions; bytes that are no image are left out."""
    uses: Counter[str] = Counter()
    opened: dict[str, Picture] = {}
    for identity in _mentioned(results):
        if identity not in opened:
            picture = _open(pictures.get(identity))
            if picture is None:
                continue
            opened[identity] = picture
        uses[opened[identity].name] += 1
    return Album(opened, frozenset(name for name, count in uses.items() if count > 1))


def show(album: Album, identity: Any, description: str) -> Markup:
    """The picture with `description` as its alternative text, or a quiet square that says it is missing."""
    picture = album.pictures.get(words(identity) or "")
    if picture is None:
        return tag("span", "not kept", class_="picture missing", role="img", aria_label=f"{description}: not kept")
    if picture.name not in album.repeated:
        return tag(
            "img",
            class_="picture",
            src=Markup(picture.address),
            alt=description,
            width=picture.width,
            height=picture.height,
            decoding="async",
        )
    return tag(
        "svg",
        tag("use", href=f"#{picture.name}"),
        class_="picture",
        viewBox=f"0 0 {picture.width} {picture.height}",
        preserveAspectRatio="xMidYMid slice",
        role="img",
        aria_label=description,
    )


def show_pair(album: Album, record: Mapping[str, Any], key: str) -> Markup:
    """A picture and, where there is one, its heat map beside it."""
    heat = record.get("heat")
    beside: Child = None
    if words(heat) is not None and words(heat) in album.pictures:
        beside = show(album, heat, f"Heat map of {key}")
    return tag("div", show(album, record.get("picture"), key), beside, class_="pair")


def gallery_kind(shown: Sequence[Mapping[str, Any]], album: Album) -> str:
    """The style of a gallery: cards are small where no picture has a heat map beside it."""
    has_heat = any((words(record, "heat") or "") in album.pictures for record in shown)
    return "gallery" if has_heat else "gallery small"


def symbols(album: Album, body: str) -> Markup:
    """The repeated pictures that `body` shows, as one invisible drawing that holds each once."""
    held = {picture.name: picture for picture in album.pictures.values() if picture.name in album.repeated}
    drawn = [
        tag("image", id=picture.name, href=Markup(picture.address), width=picture.width, height=picture.height)
        for picture in held.values()
        if f'"#{picture.name}"' in body
    ]
    return tag("svg", tag("defs", drawn), class_="store", aria_hidden="true") if drawn else join()


def _mentioned(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in ("picture", "heat") and isinstance(item, str):
                yield item
            elif key == "pictures" and isinstance(item, list | tuple):
                yield from (one for one in item if isinstance(one, str))
            else:
                yield from _mentioned(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _mentioned(item)


def _open(data: bytes | None) -> Picture | None:
    if not data:
        return None
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "GIF")) as image:
            kind, (width, height) = image.get_format_mimetype(), image.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    address = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return Picture(f"p{hashlib.sha256(data).hexdigest()[:16]}", address, width, height)
