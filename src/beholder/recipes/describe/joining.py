"""What `--regions` adds to a run, in the order of its stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from beholder.metrics.things import Things
from beholder.models.names import Names
from beholder.recipes.describe.fit import JOINING, fit, stream_of
from beholder.recipes.describe.judge_regions import say_by_regions
from beholder.recipes.describe.look import Seen
from beholder.recipes.describe.material import Asked, Material
from beholder.recipes.describe.parts import Vision
from beholder.recipes.describe.regions import (
    Naming,
    join,
    learn_names,
    names_to_learn,
    part_once,
    phrases_to_learn,
    to_join,
)
from beholder.recipes.describe.settings import DescribeTraining
from beholder.recipes.sitting import Sitting
from beholder.tasks.talk import Talker
from beholder.tokenizers.dialogues import DialogueRows
from beholder.types import UserError


@dataclass(frozen=True)
class Regions:
    """What is known of the parts of all images before the speaker learns."""

    seen: Seen
    """With parts."""
    things: Things
    naming: Naming
    phrases: tuple[Asked, ...]
    """To be learned beside the captions."""

    @classmethod
    def begin(
        cls, sitting: Sitting[DescribeTraining], material: Material, seen: Seen, eye: Vision, things: Things
    ) -> Regions:
        """Take images apart and learn names. Raises UserError for data that are no captions."""
        if material.kind != "captions":
            raise UserError(f"--regions: {sitting.data} holds {material.kind}; regions need captions.")
        if len({one.last.question for one in material.asked["train"]}) > 1:
            raise UserError("--regions: captions in one language are needed; name it by --spoken.")
        names = names_to_learn(sitting, material, things)
        with sitting.run.charged("taking apart"):
            seen = replace(seen, parts=part_once(sitting, material, eye.tokens, eye.pixels))
            naming = learn_names(sitting, material, seen, things, names)
        return cls(seen, things, naming, phrases_to_learn(material, naming))

    @property
    def names(self) -> Names:
        return self.naming.names

    def learn_to_join(
        self, sitting: Sitting[DescribeTraining], material: Material, talker: Talker, rows: DialogueRows,
        num_steps: int, rates: Sequence[tuple[str, float]],
    ) -> dict[str, Any]:  # fmt: skip
        """Go on training the speaker, with phrases of its own before the captions."""
        seen, speaker = self.seen, talker.model.speaker
        with sitting.run.charged("phrases"):
            known, looked = (
                join(sitting, material.asked[name], seen, self.naming, talker, f"phrases {name}")
                for name in ("train", "validation")
            )
        lessons = (
            *material.asked["train"],
            *self.phrases,
            *to_join(known, material, self.naming, sitting.seed),
        )
        stream = stream_of(sitting, lessons, seen, rows, stage=JOINING)
        num_steps = max(1, round(sitting.settings.joining_share * num_steps))
        return fit(
            sitting, [one.asked for one in looked], speaker, stream, num_steps, rates, stage=JOINING, name="Join"
        )

    def say(self, sitting: Sitting[DescribeTraining], asked: Sequence[Asked], talker: Talker) -> dict[str, list[str]]:
        """What the finished speaker says of held-out images by regions."""
        joined = join(sitting, asked, self.seen, self.naming, talker, "phrases test")
        likely = [self.naming.likely[one.images[0]] for one in asked]
        return say_by_regions(sitting, joined, likely, self.seen, talker)
