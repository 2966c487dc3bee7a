"""Two replicas on a Ray cluster of this machine: the same answers, also while one of them is killed."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import random_bundle
from pictures import draw
from serving import data_url

from beholder.cli.main import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None or not Path("/proc").is_dir(),
        reason="ray is not installed (beholder[scale]), or there is no /proc",
    ),
]
_SECONDS_TO_START = 180.0
URLS = [data_url(draw(np.random.default_rng(number), number % 2, 48)) for number in range(4)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    folder = tmp_path_factory.mktemp("replicas") / "bundle"
    random_bundle().save(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "import ray, sys; from beholder.cli.main import main; " \
           "ray.init(num_cpus=2, log_to_driver=False, logging_level='error', include_dashboard=False); " \
           "sys.exit(main(sys.argv[1:]))"  # fmt: skip
    command = [sys.executable, "-c", code, "serve", str(folder), "--replicas", "2", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    url = f"http://127.0.0.1:{port}"
    give_up = time.monotonic() + _SECONDS_TO_START
    while not alive(url):
        assert process.poll() is None and time.monotonic() < give_up, process.communicate()[0]
        time.sleep(0.5)
    yield url, process
    process.kill()
    process.communicate()


def alive(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=5) as answer:
            return json.load(answer)["status"] == "ready"
    except (OSError, ValueError, KeyError):
        return False


def classify(url: str, number: int) -> dict[str, Any] | int:
    """The answer's data, or the status of a refusal."""
    body = json.dumps({"model": "bundle", "images": [URLS[number]]}).encode()
    request = urllib.request.Request(f"{url}/v1/classify", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"][0]
    except urllib.error.HTTPError as error:
        return error.code


def replicas() -> list[int]:
    """Process numbers."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                title = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::ServeReplica:beholder"):
                found.append(int(folder.name))
    return sorted(found)


def wait_for(count: int, without: Sequence[int] = (), seconds: float = 90.0) -> list[int]:
    """The replicas, as soon as there are so many beside those."""
    give_up = time.monotonic() + seconds
    while len(set(replicas()) - set(without)) < count and time.monotonic() < give_up:
        time.sleep(0.2)
    return replicas()


def test_a_replica_that_is_killed_takes_no_answer_along(server: tuple[str, subprocess.Popen[str]]) -> None:
    url, process = server
    expected = [classify(url, number) for number in range(len(URLS))]
    assert all(isinstance(one, dict) for one in expected)
    before = wait_for(2)  # the first that is there answers already
    assert len(before) == 2
    said: list[tuple[int, dict[str, Any] | int]] = []
    is_over = threading.Event()

    def keep_asking(number: int) -> None:
        while not is_over.is_set():
            said.append((number, classify(url, number)))

    askers = [threading.Thread(target=keep_asking, args=(number,)) for number in range(len(URLS))]
    for one in askers:
        one.start()
    time.sleep(1.0)
    os.kill(before[0], signal.SIGKILL)
    wait_for(2, without=before[:1])
    time.sleep(2.0)
    is_over.set()
    for one in askers:
        one.join()
    assert len(replicas()) == 2 and before[0] not in replicas(), "the dead one is begun anew"
    answered = [(number, one) for number, one in said if isinstance(one, dict)]
    assert len(answered) > len(URLS)
    for number, one in answered:
        right = expected[number]
        assert isinstance(right, dict) and one["label"] == right["label"]
        assert one["score"] == pytest.approx(right["score"], abs=1e-4)
    refused = [one for _, one in said if isinstance(one, int)]
    assert set(refused) <= {429, 500, 503} and len(refused) <= 16, refused
    process.send_signal(signal.SIGTERM)
    assert process.wait(90) == 0


def test_more_replicas_than_cores_are_refused(tmp_path: Path) -> None:
    random_bundle().save(tmp_path / "bundle")
    code = (
        "import ray, sys; from beholder.cli.main import main; "
        "ray.init(num_cpus=1, log_to_driver=False, logging_level='error', include_dashboard=False); "
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "serve", str(tmp_path / "bundle"), "--replicas", "3", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "--replicas 3: they need 3 CPU cores and the cluster has 1" in done.stderr


def test_without_ray_the_remedy_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    random_bundle().save(tmp_path / "bundle")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["serve", str(tmp_path / "bundle"), "--replicas", "1", "--port", "0"]) == 2
    assert "--replicas needs Ray Serve; pip install 'beholder[scale]'." in capsys.readouterr().err
