"""The application on a port: connections that are slow to say what they want are closed, and what has begun is ended
before the process goes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from beholder.types import UserError

_SECONDS_TO_ASK = 15.0
_DRAIN_SECONDS = 30


class PromptProtocol(H11Protocol):
    """Closes a connection whose first request has no whole head in time: idle ones would use up all files."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        asyncio.get_running_loop().call_later(_SECONDS_TO_ASK, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


def listen(host: str, port: int, asked: str | None = None) -> socket.socket:
    """A bound socket. Raises UserError where that cannot be; `asked` is how the user said it."""
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port}: give a number from 0 to 65535.")
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except OSError as error:
        made.close()
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise UserError(f"{asked or f'--port {port}'} cannot be listened on ({reason}); choose another.") from error
    return made


def run(app: FastAPI, listener: socket.socket) -> None:
    """Until the process is asked to stop; Ctrl-C is the usual way, and no failure."""
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again, when all is drained
        server_of(app).run(sockets=[listener])


def server_of(app: FastAPI) -> uvicorn.Server:
    """What is being answered when it is asked to stop has half a minute more."""
    settings: dict[str, Any] = {
        "log_level": "warning", "access_log": False, "server_header": False, "timeout_keep_alive": 30,
        "timeout_graceful_shutdown": _DRAIN_SECONDS, "http": PromptProtocol, "lifespan": "on", "ws": "none",
        "loop": "asyncio",  # whether or not another library has brought uvloop
    }  # fmt: skip
    return uvicorn.Server(uvicorn.Config(app, **settings))
