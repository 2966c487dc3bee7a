"""`POST /v1/images/generations` and `/v1/images/edits`: pictures that were drawn, with their origin in the file."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from beholder.data.decode import Limits, Unreadable
from beholder.data.masks import read_hole
from beholder.inference.unmask import UnmaskConfig
from beholder.runtime.device import Device
from beholder.serve.engine import Engine
from beholder.serve.lane import Spent
from beholder.serve.refusal import Refusal
from beholder.serve.schema import ImageRequest
from beholder.tasks.generate import DrawingConfig, generate
from beholder.tasks.inpaint import Painted, inpaint
from beholder.tasks.masked_pictures import Wish
from beholder.tasks.provenance import encode_picture
from beholder.types import Sample

Drawn = Sequence[tuple[np.ndarray, Mapping[str, Any]]]
"""Pictures, each with its origin."""


async def draw(engine: Engine, asked: ImageRequest, device: Device) -> tuple[dict[str, Any], Spent]:
    """Pictures of what the prompt says. Raises Refusal and UserError for what cannot be drawn."""
    ready = engine.find(asked.model, "images/generations")
    part = ready.served.draws
    assert part is not None
    if asked.response_format == "url":
        raise Refusal(400, "response_format=url: pictures are not kept here; ask for b64_json.",
                      param="response_format")  # fmt: skip
    side = part.need_codec().config.image_size
    if asked.size is not None and asked.size not in ("auto", f"{side}x{side}"):
        raise Refusal(400, f"size={asked.size[:40]}: this model draws {side}x{side}; leave size out.", param="size")
    config = DrawingConfig(guidance=asked.guidance)

    def work() -> tuple[Drawn, Sequence[str]]:
        found = generate(part, asked.prompt, label=asked.label, count=asked.n, config=config, seed=asked.seed,
                         device=device)  # fmt: skip
        return [(one.picture, one.origin) for one in found.pictures], found.notes

    (drawn, notes), spent = await engine.lane.run(work)
    return _told(drawn, notes), spent


async def edit(
    engine: Engine,
    model: str,
    picture: np.ndarray,
    mask: bytes,
    wish: Wish,
    count: int,
    seed: int,
    guidance: float,
    device: Device,
) -> tuple[dict[str, Any], Spent]:
    """The picture with something else where the mask says so. Raises Refusal and UserError for what cannot be."""
    part = engine.find(model, "images/edits").served.mends
    assert part is not None
    decoding = UnmaskConfig(guidance=1.0 if wish.is_empty else guidance)
    hole, told = _hole_of(mask, engine.config.most_pixels)

    def work() -> Sequence[Painted]:
        return inpaint(part, picture, hole, wish=wish, count=count, decoding=decoding, seed=seed, device=device)

    painted, spent = await engine.lane.run(work)
    return _told([(one.picture, one.origin) for one in painted], [*told, *painted[0].notes]), spent


def _hole_of(content: bytes, most_pixels: int) -> tuple[np.ndarray, list[str]]:
    """As `read_hole`. Raises Refusal (400) for what is no picture."""
    try:
        return read_hole(Sample("mask", data=content), Limits(max_pixels=most_pixels))
    except Unreadable as error:
        reason = error.reason.replace(" (--max-pixels)", "")
        raise Refusal(400, f"mask cannot be read ({reason}).", param="mask", code="invalid_image") from error


def _told(drawn: Drawn, notes: Sequence[str]) -> dict[str, Any]:
    data = [
        {
            "b64_json": base64.b64encode(encode_picture(picture, origin)).decode(),
            "origin": dict(origin),
        }
        for picture, origin in drawn
    ]
    return {"created": int(time.time()), "data": data, **({"notes": list(notes)} if notes else {})}
