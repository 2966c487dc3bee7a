"""What a request is refused with: a status, and one sentence in the form that OpenAI's clients read."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """`status` is that of the answer; `param` names the field of the request that is wrong, `code` the kind of
    mistake."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, retry: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.retry = status, message, param, code, retry

    def body(self) -> dict[str, Any]:
        return error_body(self.status, self.message, self.param, self.code)

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry is None else {"Retry-After": str(self.retry)}


def error_body(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The JSON of an error."""
    kind = {401: "authentication_error", 429: "rate_limit_error", 404: "not_found_error"}.get(
        status, "invalid_request_error" if status < 500 else "server_error"
    )
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def busy(what: str, seconds: int = 1) -> Refusal:
    """For a queue that is full."""
    return Refusal(429, f"Too many {what} wait already; try again in a moment.", code="queue_full", retry=seconds)
