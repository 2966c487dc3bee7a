"""What the model card says of a domain."""

from __future__ import annotations

from beholder.recipes.adapt.ship import in_markdown


def test_names_of_classes_stand_in_the_card_as_they_are() -> None:
    assert in_markdown("good_1") == r"good\_1"
    assert in_markdown("<b>*a*</b>\n# b") == r"\<b\>\*a\*\</b\> \# b"
