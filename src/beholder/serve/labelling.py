"""The page of `label`: one picture, a key for each class; every key is saved before the next picture comes."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np
from fastapi import Body, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from PIL import Image

from beholder.serve.guard import SAFE_HEADERS
from beholder.serve.refusal import Refusal, error_body
from beholder.types import UserError

_SIDE = 1024
_MOST_CLASSES, _LONGEST = 500, 200
_FILES = {
    "/": ("label.html", "text/html; charset=utf-8"),
    "/label.js": ("label.js", "text/javascript; charset=utf-8"),
    "/playground.css": ("playground.css", "text/css; charset=utf-8"),
}


@runtime_checkable
class Table(Protocol):
    """What is filled."""

    keys: list[str]

    def label_of(self, place: int) -> str: ...

    def put(self, place: int, label: str) -> None: ...

    def undo(self) -> int | None: ...

    def classes(self) -> list[str]: ...


def build_label_app(
    table: Table, show: Callable[[int], np.ndarray | str], classes: Sequence[str],
    guess: Callable[[int], dict[str, float]] | None, port: int,
) -> FastAPI:  # fmt: skip
    """`show` gives a row's picture, or why there is none; `classes` are offered before those of the table."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    known = {f"{host}:{port}" for host in ("127.0.0.1", "localhost")}

    @app.middleware("http")
    async def guard(request: Request, go_on: Any) -> Response:
        """Only this machine's browser asks, whatever name a page elsewhere gives this address."""
        if request.headers.get("host") not in known:
            return JSONResponse(error_body(403, "This page is for this machine alone."), 403)
        answer = await go_on(request)
        for name, value in SAFE_HEADERS:
            answer.headers[name.decode()] = value.decode()
        return answer

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        return JSONResponse(error.body(), error.status)

    @app.exception_handler(UserError)
    async def failed(request: Request, error: UserError) -> Response:
        return JSONResponse(error_body(507, str(error)), 507)

    @app.get("/state")
    async def state() -> dict[str, Any]:
        labels = [table.label_of(place) for place in range(len(table.keys))]
        offered = list(dict.fromkeys([*classes, *table.classes()]))
        return {"keys": table.keys, "labels": labels, "classes": offered, "guesses": guess is not None}

    @app.get("/picture/{place}")
    async def picture(place: int) -> Response:
        found = await asyncio.get_running_loop().run_in_executor(None, show, _checked(place))
        if isinstance(found, str):
            raise Refusal(415, f"This picture cannot be read ({found}).")
        return Response(_png(found), media_type="image/png", headers={"Cache-Control": "no-store"})

    @app.post("/label")
    async def put(place: Annotated[int, Body()], label: Annotated[str, Body(max_length=_LONGEST)]) -> dict[str, Any]:
        if len(table.classes()) >= _MOST_CLASSES and label not in table.classes():
            raise Refusal(400, f"There are {_MOST_CLASSES} classes already.")
        table.put(_checked(place), " ".join(label.split()))
        return await state()

    @app.post("/undo")
    async def undo(_: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        return {"place": table.undo(), **await state()}

    @app.get("/guess/{place}")
    async def tell(place: int) -> dict[str, float]:
        if guess is None:
            raise Refusal(404, "No model was named that could guess; start label with --model.")
        return await asyncio.get_running_loop().run_in_executor(None, guess, _checked(place))

    def _checked(place: int) -> int:
        if not 0 <= place < len(table.keys):
            raise Refusal(404, f"There is no picture {place}; there are {len(table.keys):,}.")
        return place

    for address, (name, kind) in _FILES.items():
        content = resources.files("beholder.serve").joinpath(name).read_bytes()

        def page(content: bytes = content, kind: str = kind) -> Response:
            return Response(content, media_type=kind)

        app.add_api_route(address, page, response_class=Response)
    return app


def _png(pixels: np.ndarray) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
