"""The same server as several processes of a Ray cluster (Ray Serve): requests are shared out among them, and one that
dies is begun anew.

beholder serve runs/solar/model --replicas 2
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from beholder.recipes.ray_cluster import connect
from beholder.runtime.log import Log
from beholder.serve.settings import ServeConfig
from beholder.types import UserError

_NAME = "beholder"
_DRAIN_SECONDS = 30.0
_SECONDS_BETWEEN_CHECKS, _SECONDS_OF_A_CHECK = 5.0, 30.0


def start_on_ray(
    build: Callable[..., FastAPI],
    num_replicas: int,
    *,
    host: str,
    port: int,
    config: ServeConfig,
    cores: float = 1.0,
    is_gpu: bool = False,
) -> Callable[[], None]:
    """Begin so many replicas of the application that `build` makes in each, and wait until all answer. What is given
    back ends them, after what they have begun.

    Raises UserError where Ray is missing, the cluster lacks cores, or replicas do not come up: every machine has to
    reach the models by the same paths.
    """
    if num_replicas < 1:
        raise UserError(f"--replicas {num_replicas}: at least 1 is needed.")
    ray = connect("--replicas", "serve")
    has = ray.cluster_resources().get("GPU" if is_gpu else "CPU", 0)
    needed = num_replicas * (1 if is_gpu else cores)
    if has < needed:
        unit = "GPUs" if is_gpu else "CPU cores"
        raise UserError(
            f"--replicas {num_replicas}: they need {needed:g} {unit} and the cluster has {has:g}; ask for fewer, or "
            "give each fewer --threads."
        )
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve: Any = ray.serve
    serve.start(http_options={"host": host, "port": port})
    deployment = serve.deployment(
        serve.ingress(build)(),
        name=_NAME,
        num_replicas=num_replicas,
        max_ongoing_requests=config.most_waiting,
        graceful_shutdown_timeout_s=_DRAIN_SECONDS,
        health_check_period_s=_SECONDS_BETWEEN_CHECKS,
        health_check_timeout_s=_SECONDS_OF_A_CHECK,
        ray_actor_options={"num_cpus": 0 if is_gpu else cores, "num_gpus": 1 if is_gpu else 0},
    )
    try:
        serve.run(deployment.bind(), name=_NAME, route_prefix="/")
    except RuntimeError as error:
        serve.shutdown()
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"--replicas {num_replicas}: they did not come up ({reason}).") from error
    return serve.shutdown


def run_on_ray(
    open_app: Callable[..., FastAPI], models: Sequence[str | Path], num_replicas: int, *, host: str, port: int,
    config: ServeConfig, threads: int | None, is_gpu: bool, log: Log,
) -> None:  # fmt: skip
    """Until the process is asked to stop. Folders are named from the root, as replicas find them."""
    places = tuple(str(Path(model).absolute()) if Path(model).exists() else str(model) for model in models)
    cores = threads or 1

    def build() -> FastAPI:  # Ray takes a function, and nothing else, for what is to be called in every replica
        return open_app(places, threads=cores)

    stop = start_on_ray(build, num_replicas, host=host, port=port, config=config, cores=cores, is_gpu=is_gpu)
    log.stage("Address", f"http://{host}:{port}, {num_replicas} replicas")
    asked = threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: asked.set())
    asked.wait()
    stop()
