"""Things that captions name: found by any of their names, and counted as true or false against what people said."""

from __future__ import annotations

from pathlib import Path

import pytest

from beholder.metrics.things import Things, read_things, score_things
from beholder.types import UserError

THINGS = Things(
    {"dog": "dog", "puppy": "dog", "glass": "glass", "glasses": "glasses", "hot dog": "food", "ball": "ball"}
)


def test_names_are_found_in_one_number_and_many_and_the_longest_wins() -> None:
    assert THINGS.names_in("Two dogs, a Puppy and a hot dog.") == ["dog", "puppy", "hot dog"]
    assert THINGS.things_in("Two dogs, a Puppy and a hot dog.") == {"dog", "food"}
    assert THINGS.names_in("glasses") == ["glasses"] and THINGS.names_in("a glass") == ["glass"]
    assert not THINGS.names_in("dogged footballs") and not THINGS.names_in("")


def test_what_people_name_is_true_and_the_rest_is_false() -> None:
    captions = ["a puppy with a ball", "a glass", "nothing", "a dog and a glass"]
    references = [["a dog runs", "it has a toy"], ["a ball", "glasses"], ["a ball"], ["dogs", "a glass"]]
    scores = score_things(captions, references, THINGS)
    assert scores.true.tolist() == [1, 0, 0, 2] and scores.false.tolist() == [1, 1, 0, 0]
    assert scores.known.tolist() == [1, 2, 1, 2]
    assert scores.told() == {"things_true": 0.75, "things_false": 2 / 5, "things_found": 3 / 6}


def test_captions_that_name_nothing_name_nothing_false() -> None:
    assert score_things(["so it is"], [["a ball"]], THINGS).told()["things_false"] == 0


def test_the_list_for_english_knows_people_by_many_names() -> None:
    things = read_things()
    assert things.things_in("A man, two women and children") == {"person"}
    assert things.things_in("a bicycle beside the lake") == {"bike", "water"}


def test_a_list_of_ones_own_is_read_and_a_name_of_two_things_told(tmp_path: Path) -> None:
    own = tmp_path / "things.txt"
    own.write_text("crack, fissure # in the surface\n\nscratch\n", encoding="utf-8")
    assert read_things(own).thing_of == {"crack": "crack", "fissure": "crack", "scratch": "scratch"}
    own.write_text("crack, line\nscratch, line\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 2: 'line' is a name of 'crack' already"):
        read_things(own)
    own.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(UserError, match="is empty"):
        read_things(own)
    with pytest.raises(UserError, match="no such file"):
        read_things(tmp_path / "absent.txt")
