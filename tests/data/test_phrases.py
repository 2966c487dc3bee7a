"""Phrases about one thing are cut out of whole sentences."""

from __future__ import annotations

import pytest

from beholder.data.phrases import phrase_about


@pytest.mark.parametrize(
    ("name", "text", "phrase"),
    [
        ("dog", "A small brown dog runs on the grass.", "a small brown dog"),
        ("grass", "A small brown dog runs on the grass.", "the grass"),
        ("dog", "Two dogs play", "two dogs"),
        ("ball", "Dogs with red ball", "ball"),
        ("ball", "dog chasing ball", "ball"),
        ("dirt bike", "a man on his new dirt bike", "his new dirt bike"),
        ("cat", "Two dogs play", None),
        ("dog", "the very very very very long dog", "dog"),
    ],
)
def test_from_the_article_to_the_name(name: str, text: str, phrase: str | None) -> None:
    assert phrase_about(name, text) == phrase
