"""The playground: one page out of the package, without requests to anywhere else."""

from __future__ import annotations

from importlib import resources

from fastapi import FastAPI
from fastapi.responses import Response

_FILES = {
    "/": ("playground.html", "text/html; charset=utf-8"),
    "/playground.js": ("playground.js", "text/javascript; charset=utf-8"),
    "/playground.css": ("playground.css", "text/css; charset=utf-8"),
}


def add_pages(app: FastAPI) -> None:
    """Its files, below no other address than these."""
    for address, (name, kind) in _FILES.items():
        content = resources.files("beholder.serve").joinpath(name).read_bytes()

        def page(content: bytes = content, kind: str = kind) -> Response:
            return Response(content, media_type=kind)

        app.add_api_route(address, page, include_in_schema=False, response_class=Response)
