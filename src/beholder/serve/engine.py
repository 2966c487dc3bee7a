"""All served models, what gathers their inputs, and the one lane that runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from beholder.inference.rolling import Rolling, Row
from beholder.models.vision_language import WithImages
from beholder.serve.batcher import Batcher
from beholder.serve.lane import Lane
from beholder.serve.refusal import Refusal
from beholder.serve.served import Served
from beholder.serve.settings import ServeConfig
from beholder.serve.speaking import Speaking


@dataclass(frozen=True)
class Ready:
    """A model and the queues in front of it, by the name of what they do."""

    served: Served
    queues: dict[str, Batcher[Any, Any]]
    speaking: Speaking | None

    def queue(self, name: str) -> Batcher[Any, Any]:
        """Raises Refusal (404) where the model cannot do that."""
        if name not in self.queues:
            raise cannot(self.served, f"has no {name}")
        return self.queues[name]


class Engine:
    """Models by name. To be made within a running event loop."""

    def __init__(
        self, models: Sequence[Served], config: ServeConfig,
        on_batch: Callable[[str, int], None] = lambda what, count: None,
    ) -> None:  # fmt: skip
        self.config, self.lane, self._on_batch = config, Lane(), on_batch
        self.models = {one.name: self._ready(one) for one in models}

    def find(self, name: str, ability: str | None = None) -> Ready:
        """Raises Refusal (404) for an unknown model, and for one that cannot do that, with what it can."""
        ready = self.models.get(name)
        if ready is None:
            known = ", ".join(self.models)
            raise Refusal(404, f"There is no model {name[:200]!r}; served are {known}.", param="model",
                          code="model_not_found")  # fmt: skip
        if ability is not None and ability not in ready.served.abilities:
            raise cannot(ready.served, f"does not answer /v1/{ability}")
        return ready

    def waiting(self) -> Iterator[tuple[str, int]]:
        """How many inputs wait in each queue."""
        for name, ready in self.models.items():
            for queue in ready.queues.values():
                yield f"{name} {queue.what}", queue.num_waiting
            if ready.speaking is not None:
                yield f"{name} texts", ready.speaking.num_waiting

    async def close(self) -> None:
        """After what is running."""
        await asyncio.get_running_loop().run_in_executor(None, self.lane.close)

    def _ready(self, served: Served) -> Ready:
        works: dict[str, Callable[[Sequence[Any]], Iterable[Any]]] = {}
        if served.place_images is not None:
            works["embeddings of images"] = served.place_images
        if served.place_texts is not None:
            works["embeddings of texts"] = served.place_texts
        for name in ("classify", "anomaly", "detect"):
            work = getattr(served, name)
            if work is not None:
                works[name] = work
        if served.talker is not None:
            works["see"] = served.talker.see
        queues = {name: self._queue(name, work) for name, work in works.items()}
        return Ready(served, queues, self._speaking(served))

    def _queue(self, name: str, work: Callable[[Sequence[Any]], Iterable[Any]]) -> Batcher[Any, Any]:
        config = self.config
        return Batcher(
            name, work, self.lane, size=config.batch_size, wait=config.batch_wait / 1000,
            most_waiting=config.most_waiting, on_batch=self._on_batch,
        )  # fmt: skip

    def _speaking(self, served: Served) -> Speaking | None:
        limits = {"most_rows": self.config.most_rows, "most_waiting": self.config.most_waiting}
        if served.writer is not None:
            writer = served.writer
            return Speaking(Rolling(writer.model), self.lane, writer.device.autocast, **limits)
        if served.talker is None:
            return None
        talker = served.talker

        def bind(rows: Sequence[Row]) -> WithImages:
            blank = torch.zeros(0, talker.model.vision.num_tokens, talker.model.vision.width)
            return talker.before([blank if row.shown is None else row.shown for row in rows])

        rolling = Rolling(WithImages(talker.model.speaker, None), bind)
        return Speaking(rolling, self.lane, talker.device.autocast, **limits)


def cannot(served: Served, told: str) -> Refusal:
    """For what a model was not made for."""
    can = ", ".join(f"/v1/{one}" for one in served.abilities)
    return Refusal(
        404, f"{served.name} {told} ({served.about}); it answers {can}.", param="model", code="ability_not_found"
    )
