"""The playground in headless Chromium: every form answers, by mouse and by keyboard; nothing is requested elsewhere,
nothing is cut off, in light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import opened_browser
from serving import Address, picture, png

from beholder.serve.settings import USUAL

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "a photo.png"
    path.write_bytes(png(picture(1, 16)))
    return path


@pytest.fixture(params=[("light", 1200), ("dark", 390)], ids=["wide", "narrow"])
def page(request: pytest.FixtureRequest, browser: Any, address: Address) -> Iterator[Any]:
    scheme, width = request.param
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=False)
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda told: wrong.append(told.text) if told.type == "error" else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda one: None if one.url.startswith((address.url, "data:")) else wrong.append(one.url))
    opened.goto(address.url)
    opened.wait_for_selector("#forms button")
    yield opened
    assert opened.locator("main").bounding_box()["width"] <= width
    for box in (one.bounding_box() for one in opened.locator("button:visible, input:visible, select:visible").all()):
        assert box is None or box["x"] + box["width"] <= width + 1
    context.close()
    assert not wrong


def wait(page: Any) -> str:
    page.wait_for_selector("#cost:not(:empty), #answer .bad", timeout=60_000)
    return page.inner_text("#answer")


def test_a_picture_is_classified_and_it_shows_where_it_looked(page: Any, file: Path) -> None:
    page.set_input_files("#file", file)
    page.wait_for_selector("#canvas:visible")
    page.click("text=Which class?")
    told = wait(page)
    assert "left" in told and "right" in told and "evidence" in told
    assert " J, " in page.inner_text("#cost") and "CO₂" in page.inner_text("#cost")
    page.click("text=How unusual is it?")
    page.wait_for_selector("#answer >> text=Distance")


def test_what_is_missing_is_told(page: Any) -> None:
    page.click("text=Which class?")
    assert "Show a picture first" in wait(page)


def test_it_talks_in_pieces_and_by_the_enter_key(page: Any, file: Path) -> None:
    page.select_option("#model", "writer")
    page.fill("#Talk-text", "a red block")
    page.press("#Talk-text", "Enter")
    assert wait(page)
    page.select_option("#model", "answers")
    page.set_input_files("#file", file)
    page.wait_for_selector("#canvas:visible")
    page.fill("#Talk-text", "how many?")
    page.click("button:text-is('Ask')")
    assert wait(page)


def test_a_hole_is_painted_by_the_keyboard_and_filled(page: Any, file: Path) -> None:
    page.select_option("#model", "masked")
    page.set_input_files("#file", file)
    page.wait_for_selector("#canvas:visible")
    page.focus("#drop")
    for key in ("Space", "ArrowRight", "ArrowDown", "Space"):
        page.keyboard.press(key)
    page.click("button:text-is('Replace')")
    wait(page)
    assert page.locator("#answer img").count() == 1, page.inner_text("#answer")


def test_pictures_are_drawn_and_can_be_saved(page: Any) -> None:
    page.select_option("#model", "drawer")
    page.fill("#Draw-prompt", "a red block")
    page.click("button:text-is('Draw')")
    wait(page)
    assert page.locator("#answer img").count() == 2 and page.locator("#answer a[download]").count() == 2


def test_a_key_is_asked_for_and_then_used(browser: Any, serving: Any, file: Path) -> None:
    with serving(USUAL, keys=("k" * 20,)) as address:
        page = browser.new_page()
        page.goto(address.url)
        page.wait_for_selector("#key-row:visible")
        page.fill("#key", "wrong" * 5)
        page.press("#key", "Enter")
        assert page.locator("#forms button").count() == 0
        page.fill("#key", "k" * 20)
        page.press("#key", "Enter")
        page.wait_for_selector("#forms button")
        page.set_input_files("#file", file)
        page.wait_for_selector("#canvas:visible")
        page.click("text=Which class?")
        assert "left" in wait(page)
        page.close()
