"""What a server tells of itself: counts for Prometheus, and a line of JSON for each request, without contents."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Measures:
    """One server's counts."""

    def __init__(self, waiting: Callable[[], Iterator[tuple[str, int]]]) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "beholder_requests", "Requests by address, model and status.", ("path", "model", "status"),
            registry=self._registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "beholder_request_seconds", "Seconds from a request's head to the end of its answer.", ("path",),
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self.batches = Histogram(
            "beholder_batch_inputs", "Inputs that were run together.", ("work",), buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self._registry,
        )  # fmt: skip
        self.tokens = Counter("beholder_tokens", "Tokens read and written.", ("model", "kind"), registry=self._registry)
        self.joules = Counter("beholder_joules", "Joules, from CPU time.", ("model",), registry=self._registry)
        self._registry.register(_Waiting(waiting))

    def text(self) -> bytes:
        """In Prometheus' format."""
        return generate_latest(self._registry)


class _Waiting(Collector):
    def __init__(self, waiting: Callable[[], Iterator[tuple[str, int]]]) -> None:
        self._waiting = waiting

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily("beholder_waiting", "Inputs that wait.", labels=("queue",))
        for name, count in self._waiting():
            family.add_metric((name,), count)
        yield family


def log_request(method: str, path: str, model: str, status: int, seconds: float, sent: int, who: str) -> None:
    """One line on standard error."""
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "method": method, "path": path, "model": model,
        "status": status, "ms": round(1000 * seconds, 1), "bytes": sent, "who": who,
    }  # fmt: skip
    print(json.dumps(line), file=sys.stderr, flush=True)
