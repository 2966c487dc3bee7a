"""The learning rate over a run, as a pure function of the step."""

from __future__ import annotations

import math


def warmup_cosine(step: int, num_steps: int, num_warmup: int, floor: float = 0.0) -> float:
    """Multiplier of the learning rate at `step` (from 0): linear up over `num_warmup` steps, then a half cosine down.

    In (0, 1]; the last warm-up step has 1, and the run would reach `floor` at `num_steps`
    (Loshchilov & Hutter 2016, arXiv 1608.03983).
    """
    if step < num_warmup:
        return (step + 1) / num_warmup
    done = (step - num_warmup) / max(num_steps - num_warmup, 1)
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
