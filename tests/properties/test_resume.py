"""Resuming equals not stopping, to the bit, wherever and however the run was ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beholder.data.augment import AugmentConfig
from beholder.data.stream import ImageStream
from beholder.models.vit import PRESETS, ViT
from beholder.objectives.teacher import SelfDistillation
from beholder.train.loop import Plan, train
from beholder.train.state import find_checkpoints
from beholder.train.step import StepReport
from tests.train.tiny import CPU, same_weights, tiny_run

PLAN = Plan(num_steps=9, lr=0.02, num_warmup=3, probe_every=3, average_momentum=0.9, checkpoint_every_seconds=0.0)


class Interrupted(BaseException):
    """Stands for whatever ends a process."""


def interrupt_at(step: int):  # type: ignore[no-untyped-def]
    def on_step(report: StepReport) -> None:
        if report.step == step:
            raise Interrupted

    return on_step


@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(0, 8), max_size=3))
def test_a_run_interrupted_anywhere_ends_with_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, stops: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    probe = lambda model, step: {"weight": float(next(model.parameters()).detach().sum())}  # noqa: E731
    whole, whole_objective, told = tiny_run(folder / "whole", PLAN, probes=[probe])
    for stop in stops:
        torch.manual_seed(stop)  # what the process drew before must not matter
        with contextlib.suppress(Interrupted):
            tiny_run(folder / "cut", PLAN, probes=[probe], on_step=interrupt_at(stop))
    resumed, resumed_objective, result = tiny_run(folder / "cut", PLAN, probes=[probe])
    assert same_weights(whole, resumed) and same_weights(whole_objective, resumed_objective)
    assert result.probes == told.probes and result.losses == told.losses
    assert result.average is not None and told.average is not None
    assert same_weights(result.average, told.average)


def vit_run(folder: Path) -> ViT:
    torch.manual_seed(0)
    model = ViT(PRESETS["debug"])
    images = torch.randint(0, 256, (20, 3, 16, 16), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    stream = ImageStream(images.numpy(), batch_size=8, num_views=2, augmentation=AugmentConfig(size=16), seed=0)
    plan = Plan(num_steps=24, lr=1e-3, num_warmup=4, checkpoint_every_seconds=0.0)
    train(model, SelfDistillation(model), stream, plan=plan, device=CPU, folder=folder)
    return model


def test_a_self_distillation_killed_without_warning_ends_with_the_same_bits(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, torch; torch.set_num_threads(1); "
        "from tests.properties.test_resume import vit_run; vit_run(pathlib.Path(sys.argv[1]))"
    )
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "src")])
    cut = tmp_path / "cut"
    with subprocess.Popen([sys.executable, "-c", code, str(cut)], env={**os.environ, "PYTHONPATH": path}) as process:
        deadline = time.monotonic() + 60
        while not find_checkpoints(cut) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    reached = find_checkpoints(cut)
    assert reached and reached[-1] < 24, "killed too early or too late to prove anything"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert same_weights(vit_run(cut), vit_run(tmp_path / "whole"))
    finally:
        torch.set_num_threads(threads)
