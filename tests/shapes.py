"""How annotations are checked in tests: by beartype, an int being a float as PEP 484 has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from beartype import BeartypeConf, beartype
from jaxtyping import config

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


@contextmanager
def unchecked() -> Iterator[None]:
    """For tests that build one model hundreds of times: the checks cost nine tenths of their seconds, and other tests
    have them on the same model. Also a decorator."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", before)
