"""A server and thousands of connections that say what they want a letter at a time: is anyone else still answered?

    python benchmarks/serve_flood.py --connections 10000 > flood.json

A small model of `adapt` with random weights. Every connection sends one more letter of its request's head every two
seconds, and is counted when the server closes it. An honest client asks for classes all the while. Two processes need
so many files each: raise the limit with `ulimit -n 20000` where it is lower.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "tests")]

from bundles import random_bundle  # noqa: E402
from pictures import draw  # noqa: E402
from serve import serving  # noqa: E402
from serve_soak import ask, resident_mb  # noqa: E402
from serving import data_url  # noqa: E402

HEAD = b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"a" * 200
_PAUSE, _OPENED_AT_ONCE = 2.0, 200
_SPARE_FILES = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=40.0, help="for which they go on")
    asked = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < asked.connections + _SPARE_FILES:
        sys.exit(f"{asked.connections:,} connections need more files than the {hard:,} that a process may open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        random_bundle().save(folder)
        command = [sys.executable, "-m", "beholder.cli.main", "serve", str(folder), "--device", "cpu"]
        with serving(command, "beholder", 1) as (port, process):
            json.dump(asyncio.run(flood(port, process, asked.connections, asked.seconds)), sys.stdout, indent=1)


async def flood(port: int, process: int, count: int, seconds: float) -> dict[str, Any]:
    url, picture = f"http://127.0.0.1:{port}", data_url(draw(np.random.default_rng(0), 0, 48))
    before, quiet = resident_mb(process), [await wait_of(url, picture) for _ in range(20)]
    told: Counter[str] = Counter()
    slow = []
    for first in range(0, count, _OPENED_AT_ONCE):
        slow += [asyncio.create_task(say_slowly(port, told)) for _ in range(min(_OPENED_AT_ONCE, count - first))]
        await asyncio.sleep(0.05)
    waits, most, end = [], before, time.monotonic() + seconds
    while time.monotonic() < end:
        waits.append(await wait_of(url, picture))
        most = max(most, resident_mb(process))
        await asyncio.sleep(0.1)
    for one in slow:
        one.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    await asyncio.sleep(2)
    after = [await wait_of(url, picture) for _ in range(20)]
    return {
        "connections": count, "told": dict(told), "answered": len(waits), "resident_mb": [before, most],
        "resident_mb_after": resident_mb(process),
        "median_seconds": {"before": np.median(quiet), "meanwhile": np.median(waits), "after": np.median(after)},
        "longest_seconds": max(waits),
    }  # fmt: skip


async def wait_of(url: str, picture: str) -> float:
    """Seconds until an honest client has its answer, on a connection of its own."""
    begun = time.perf_counter()
    answer = await asyncio.to_thread(ask, url, picture)
    assert answer.status_code == 200, answer.text
    return time.perf_counter() - begun


async def say_slowly(port: int, told: Counter[str]) -> None:
    """A letter, a pause, until the server closes the connection."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        told["not opened"] += 1
        return
    told["opened"] += 1
    end = asyncio.create_task(reader.read(1))
    try:
        for letter in HEAD:
            writer.write(bytes([letter]))
            if (await asyncio.wait([end], timeout=_PAUSE))[0]:
                told["closed by the server"] += 1
                return
    finally:
        end.cancel()
        writer.close()


if __name__ == "__main__":
    main()
