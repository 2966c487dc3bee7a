"""A server under load for a while: is an answer ever wrong, does memory grow, what does it do after it was stopped?

    python benchmarks/serve_soak.py --minutes 60 > soak.json

A small model of `adapt` with random weights; clients ask for classes of pictures whose answers are known, now and then
send what is no picture, and go away without waiting. Once a minute the process is stopped for two seconds (SIGSTOP) and
goes on. Told are answers, wrong ones, refusals by status, the longest wait after going on, and memory by the minute.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "tests")]

from bundles import random_bundle  # noqa: E402
from pictures import draw  # noqa: E402
from serve import serving  # noqa: E402
from serving import data_url  # noqa: E402

_STOPPED_SECONDS = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=8)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        random_bundle().save(folder)
        command = [sys.executable, "-m", "beholder.cli.main", "serve", str(folder), "--device", "cpu"]
        with serving(command, "beholder", 1) as (port, process):
            json.dump(soak(f"http://127.0.0.1:{port}", process, asked.minutes, asked.clients), sys.stdout, indent=1)


def soak(url: str, process: int, minutes: float, num_clients: int) -> dict[str, Any]:
    urls = [data_url(draw(np.random.default_rng(number), number % 2, 48)) for number in range(16)]
    right = [ask(url, one).json()["data"][0] for one in urls]
    told, waits, is_over = Counter[str](), list[float](), threading.Event()

    def client(seed: int) -> None:
        generator = np.random.default_rng(seed)
        while not is_over.is_set():
            number, kind = int(generator.integers(len(urls))), generator.random()
            begun = time.perf_counter()
            try:
                answer = ask(
                    url, "data:image/png;base64,AAAA" if kind < 0.05 else urls[number], 0.01 if kind > 0.95 else 60
                )
            except httpx.TimeoutException:
                told["left" if kind > 0.95 else "no answer"] += 1
                continue
            if answer.status_code != 200:
                told[str(answer.status_code)] += 1
                continue
            found = answer.json()["data"][0]
            is_right = found["label"] == right[number]["label"] and abs(found["score"] - right[number]["score"]) < 1e-4
            told["right" if is_right else "wrong"] += 1
            waits.append(time.perf_counter() - begun)

    clients = [threading.Thread(target=client, args=(seed,)) for seed in range(num_clients)]
    for one in clients:
        one.start()
    memory, after_stops = [resident_mb(process)], list[float]()
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        time.sleep(min(57.0, max(0.1, end - time.monotonic())))
        os.kill(process, signal.SIGSTOP)
        time.sleep(_STOPPED_SECONDS)
        begun = time.perf_counter()
        os.kill(process, signal.SIGCONT)
        ask(url, urls[0])
        after_stops.append(time.perf_counter() - begun)
        memory.append(resident_mb(process))
    is_over.set()
    for one in clients:
        one.join()
    return {
        "minutes": minutes, "clients": num_clients, "told": dict(told), "median_seconds": float(np.median(waits)),
        "p99_seconds": float(np.quantile(waits, 0.99)), "seconds_to_answer_after_a_stop": after_stops,
        "resident_mb_by_the_minute": memory,
    }  # fmt: skip


def ask(url: str, picture: str, timeout: float = 60.0) -> httpx.Response:
    return httpx.post(f"{url}/v1/classify", json={"model": "bundle", "images": [picture]}, timeout=timeout)


def resident_mb(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


if __name__ == "__main__":
    main()
