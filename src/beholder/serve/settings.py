"""How a server batches, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass

from beholder.types import UserError


@dataclass(frozen=True)
class ServeConfig:
    """Limits of one server; frozen. Raises UserError for ones that would refuse everything."""

    batch_size: int = 16
    """Most inputs of one kind that are run together."""
    batch_wait: float = 5.0
    """Milliseconds that the first of them waits for others; 0: none."""
    most_waiting: int = 256
    """Inputs of one kind that may wait; more are answered 429."""
    most_rows: int = 32
    """Texts that are written at once; more wait."""
    most_bytes: int = 32 << 20
    """Of a request's body."""
    most_pixels: int = 40_000_000
    """Of an image, before it is decoded."""
    most_images: int = 32
    """Of a request."""
    most_tokens: int = 1024
    """That a request may ask for."""
    seconds: float = 120.0
    """That a request may take, and a slow client may take to send it."""
    per_minute: int = 0
    """Requests of one key, or one address where there are no keys; 0: any number."""
    remote_images: bool = False
    """Whether images are fetched from addresses that requests name; private ones never."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "most_waiting", "most_rows", "most_bytes", "most_pixels", "most_images",
                     "most_tokens"):  # fmt: skip
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: at least 1 is needed.")
        for name in ("batch_wait", "per_minute"):
            if getattr(self, name) < 0:
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: it must not be below 0.")
        if self.seconds <= 0:
            raise UserError(f"--seconds {self.seconds}: it must be above 0.")


USUAL = ServeConfig()
