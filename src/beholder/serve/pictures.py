"""Images in requests: data URLs, and addresses where that is switched on."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

from beholder.data.decode import Limits, Unreadable, decode
from beholder.serve.refusal import Refusal
from beholder.serve.remote import fetch
from beholder.serve.settings import ServeConfig
from beholder.types import Sample

_DATA = re.compile(r"data:(?P<kind>[\w.+-]+/[\w.+-]+)?(?P<rest>(?:;[\w.=+-]+)*),")
Picture = UInt8[np.ndarray, "H W 3"]


def is_picture(text: str) -> bool:
    """Whether it is a data URL of an image."""
    return text[:11].lower().startswith("data:image/")


def listed(param: str, urls: Sequence[str]) -> dict[str, str]:
    """Each by its place in that field of the request."""
    return {f"{param}[{number}]": url for number, url in enumerate(urls)}


async def read_pictures(urls: Mapping[str, str], config: ServeConfig, param: str) -> list[np.ndarray]:
    """Decoded, in order; `urls` by the place in the request, and `param` is the field of all. Raises Refusal (400) for
    too many, and for one that cannot be read."""
    if len(urls) > config.most_images:
        raise Refusal(
            400, f"{len(urls):,} images in one request; at most {config.most_images:,} are read.", param=param
        )
    contents = {place: await _content(url, config, place) for place, url in urls.items()}
    limits = Limits(max_pixels=config.most_pixels)
    loop = asyncio.get_running_loop()
    return [
        await loop.run_in_executor(None, read_picture, content, limits, place) for place, content in contents.items()
    ]


def read_picture(content: bytes, limits: Limits, param: str) -> np.ndarray:
    """Raises Refusal (400) for what is no image, damaged, or too large."""
    try:
        return decode(Sample(param, data=content), limits)
    except Unreadable as error:
        reason = error.reason.replace(" (--max-pixels)", "")
        raise Refusal(400, f"{param} cannot be read ({reason}).", param=param, code="invalid_image") from error


async def _content(url: str, config: ServeConfig, param: str) -> bytes:
    head = _DATA.match(url[:256])
    if head is not None:
        if not head["rest"].lower().endswith(";base64"):
            raise Refusal(400, f"{param} is a data URL without base64; write data:image/png;base64,...", param=param)
        return _decode(url[head.end() :], param)
    if url[:8].lower().startswith(("http://", "https://")):
        if not config.remote_images:
            raise Refusal(
                400, f"{param}: images are not fetched from addresses here; send a data URL.", param=param,
                code="remote_images_off",
            )  # fmt: skip
        return await fetch(url, config.most_bytes, config.seconds, param)
    raise Refusal(400, f"{param} is no data URL of an image; write data:image/png;base64,...", param=param)


def _decode(text: str, param: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, f"{param} is no base64 ({error}).", param=param, code="invalid_image") from error
