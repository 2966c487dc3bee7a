"""Stands before all addresses: keys, sizes, rates and times; and writes down what was answered."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from beholder.serve.measures import Measures, log_request
from beholder.serve.refusal import Refusal, error_body
from beholder.serve.settings import ServeConfig

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_OPEN = ("/health", "/ready")
"""Answered without a key."""
_PAGES = ("/", "/playground.js", "/playground.css")
_MOST_CLIENTS = 10_000
SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy",
     b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
     b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
)  # fmt: skip


class Guard:
    """An ASGI application around another."""

    def __init__(self, app: Any, config: ServeConfig, keys: tuple[str, ...], measures: Measures) -> None:
        self._app, self._config, self._measures = app, config, measures
        self._keys = [key.encode() for key in keys]
        self._seen: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, told = time.perf_counter(), {"status": 500, "bytes": 0, "started": False}
        scope.setdefault("state", {})

        async def watched(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                told["status"], told["started"] = message["status"], True
                message["headers"] = [*message.get("headers", ()), *SAFE_HEADERS]
            elif message["type"] == "http.response.body":
                told["bytes"] += len(message.get("body", b""))
            await send(message)

        who = "-"
        try:
            who = self._admit(scope)
            body = await self._body(scope, receive)
            await self._app(scope, _replay(body, receive), watched)
        except Refusal as refusal:
            await _answer(watched, refusal.status, refusal.body(), refusal.headers)
        except TimeoutError:
            message = f"The request was not complete after {self._config.seconds:g} s; send it faster."
            await _answer(watched, 408, error_body(408, message, code="timeout"), {"Connection": "close"})
        except Exception:
            if not told["started"]:
                await _answer(watched, 500, error_body(500, "Something failed here; it is written in the log."), {})
            raise
        finally:
            seconds = time.perf_counter() - begun
            known = scope["path"] if scope["path"] in _OPEN + _PAGES else "(unknown)"
            path = getattr(scope.get("route"), "path", known)
            model = scope["state"].get("model", "-")
            self._measures.requests.labels(path, model, told["status"]).inc()
            self._measures.seconds.labels(path).observe(seconds)
            log_request(scope["method"], path, model, told["status"], seconds, told["bytes"], who)

    def _admit(self, scope: Scope) -> str:
        """Who asks, without saying the key. Raises Refusal for an unknown one, and for too many requests."""
        path, who = scope["path"], (scope.get("client") or ("-",))[0]
        if self._keys and path not in _OPEN + _PAGES:
            given = _header(scope, b"authorization") or b""
            kind, _, key = given.partition(b" ")
            is_known = [hmac.compare_digest(key.strip(), one) for one in self._keys]
            if kind.lower() != b"bearer" or not any(is_known):
                told = "This key is not known here" if kind else "This server asks for a key"
                raise Refusal(401, f"{told}: send one of its own as Authorization: Bearer KEY.", code="invalid_api_key")
            who = "key " + hashlib.sha256(key.strip()).hexdigest()[:8]
        if self._config.per_minute and path.startswith("/v1/"):
            self._take_one(who)
        return who

    def _take_one(self, who: str) -> None:
        """From a bucket that fills evenly."""
        most, now = float(self._config.per_minute), time.monotonic()
        left, since = self._seen.pop(who, (most, now))
        left = min(most, left + (now - since) * most / 60)
        self._seen[who] = (left - 1 if left >= 1 else left, now)
        if len(self._seen) > _MOST_CLIENTS:
            self._seen.popitem(last=False)
        if left < 1:
            seconds = max(1, round((1 - left) * 60 / most))
            raise Refusal(429, f"More than {self._config.per_minute:,} requests a minute; try again in {seconds} s.",
                          code="rate_limit_exceeded", retry=seconds)  # fmt: skip

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Whole, within its size and time. Raises Refusal and TimeoutError."""
        most = self._config.most_bytes
        told = _header(scope, b"content-length")
        if told is not None and (not told.isdigit() or int(told) > most):
            raise Refusal(413, f"The body is larger than {most:,} bytes; send less.", code="request_too_large")
        pieces, size = [], 0
        async with asyncio.timeout(self._config.seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(400, "The client went away.")
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                if size > most:
                    raise Refusal(413, f"The body is larger than {most:,} bytes; send less.", code="request_too_large")
                if not message.get("more_body"):
                    return b"".join(pieces)


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once, and then whether the client went away."""
    is_told = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal is_told
        if is_told:
            return await receive()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key.lower() == name), None)


async def _answer(send: Send, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
    content = json.dumps(body, ensure_ascii=False).encode()
    told = {"content-type": "application/json", "content-length": str(len(content)), **headers}
    pairs = [(name.encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": content})
