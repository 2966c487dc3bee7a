"""The report in headless Chromium: no request, no error, nothing cut off, readable in light and dark."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import opened_browser
from report_example import example_pictures, example_results

from beholder.evaluate.report import write_report

pytestmark = pytest.mark.browser

WIDTHS = (360, 768, 1600)

# The contrast of an element's text with the nearest opaque background, by WCAG 2.2.
CONTRAST = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = (colour) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = [...rgba(colour)].map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (rgba(colour)[3] === 255) return colour;
    }
    return "white";
  };
  const poor = [];
  let seen = 0;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.getClientRects().length || element.closest("script, style, title, .skip")) continue;
    const style = getComputedStyle(element);
    const colour = element.closest("svg") ? style.fill : style.color;
    const [a, b] = [light(colour), light(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    seen += 1;
    if (ratio < 4.5) poor.push(`${element.outerHTML.slice(0, 80)} ${ratio.toFixed(2)}`);
  }
  return { poor, seen };
}
"""
OVERFLOW = """
() => {
  const width = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll("body *")].filter((element) => {
    if (element.closest(".scroll, pre, .store, .unseen, .skip, .key > *")) return false;
    if (!element.getClientRects().length) return false;
    const box = element.getBoundingClientRect();
    return box.right > width + 1 || box.left < -1;
  });
  const told = wide.slice(0, 5).map((element) => element.outerHTML.slice(0, 120));
  return [document.documentElement.scrollWidth - width, told];
}
"""
LABEL_BOXES = """
(kind) => [...document.querySelectorAll(`${kind} .end-label text`)]
  .map((text) => text.getBoundingClientRect())
  .map((box) => [box.left, box.top, box.right, box.bottom])
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(example_results(), example_pictures(48), path)
    return path


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Any, report: Path) -> Iterator[Any]:
    """The open report; leaving it checks that nothing was requested and nothing complained."""
    context = browser.new_context(color_scheme=request.param, viewport={"width": 1400, "height": 900})
    opened = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    opened.on("request", lambda one: asked.append(one.url))
    opened.on("console", lambda one: complaints.append(one.text))
    opened.on("pageerror", lambda one: complaints.append(str(one)))
    opened.goto(report.as_uri())
    yield opened
    assert [url[:60] for url in asked if not url.startswith("data:")] == [report.as_uri()[:60]]
    assert complaints == []
    context.close()


def test_nothing_is_wider_than_the_screen(page: Any) -> None:
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(OVERFLOW) == [0, []], width


FIGURES = """
() => [...document.querySelectorAll(".figures .big")]
  .filter((figure) => figure.scrollWidth > figure.clientWidth)
  .map((figure) => [figure.textContent, figure.scrollWidth, figure.clientWidth])
"""


@pytest.mark.parametrize("seconds", [210.0, 599.0, 1134.2, 23 * 3600 + 59 * 60])
def test_every_figure_fits_its_card(browser: Any, tmp_path: Path, seconds: float) -> None:
    results = example_results()
    results["wall_seconds"] = seconds
    for row in results["labels_saved"]["rows"]:
        row["interval"] = None  # the figure is then a word
    write_report(results, {}, tmp_path / "report.html")
    opened = browser.new_page()
    opened.goto((tmp_path / "report.html").as_uri())
    for width in (360, 380, 700, 701, 800, 1000, 1001, 1100, 1239, 1240, 1280, 1600):
        opened.set_viewport_size({"width": width, "height": 900})
        assert opened.evaluate(FIGURES) == [], width
    opened.close()


def test_every_picture_is_shown(page: Any) -> None:
    page.wait_for_function("() => [...document.images].every((image) => image.complete)")
    widths = page.evaluate("() => [...document.images].map((image) => image.naturalWidth)")
    assert widths and min(widths) > 0
    uses = page.evaluate("() => [...document.querySelectorAll('use')].map((use) => use.getBBox().width)")
    assert uses and min(uses) > 0


def test_text_is_readable(page: Any) -> None:
    page.evaluate("() => document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    for width in (360, 1400):
        page.set_viewport_size({"width": width, "height": 900})
        found = page.evaluate(CONTRAST)
        assert found["seen"] > 200
        assert found["poor"] == []


@pytest.mark.parametrize(("kind", "width"), [(".wide-only", 1400), (".middle-only", 800)])
def test_end_labels_of_the_curve_do_not_overlap_or_leave_the_drawing(page: Any, kind: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    boxes = sorted(page.evaluate(LABEL_BOXES, kind), key=lambda box: box[1])
    assert len(boxes) == 6
    assert all(above[3] <= below[1] + 3 for above, below in itertools.pairwise(boxes))
    edge = page.evaluate("(kind) => document.querySelector(`${kind} .chart`).getBoundingClientRect().right", kind)
    assert max(box[2] for box in boxes) <= edge


def test_exactly_one_size_of_the_curve_is_shown(page: Any) -> None:
    shown = (
        "() => [...document.querySelectorAll('.curve:first-of-type .chart')].filter((c) => c.checkVisibility()).length"
    )
    for width in (360, 700, 701, 1000, 1001, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(shown) == 2, "the label curve and the loss"


def test_the_verdict_and_the_key_figures_are_on_the_first_screen(page: Any) -> None:
    bottom = page.evaluate("() => document.querySelector('.figures .big').getBoundingClientRect().bottom")
    assert bottom <= 900


def test_a_picture_opens_larger_by_keyboard_and_closes(page: Any) -> None:
    page.locator("figure > .pair").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog[open] .picture").first.is_visible()
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_the_page_is_whole_without_script(browser: Any, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(report.as_uri())
    assert opened.locator("main > section").count() == 10
    assert opened.locator(".wide-only .chart").first.is_visible()
    context.close()


A4_BETWEEN_MARGINS = 688
"""CSS pixels: 210 mm less two margins of 14 mm."""
CUT = """
() => [...document.querySelectorAll(".card, .card p, .card .key, td, th, h1, h2, h3")]
  .filter((element) => element.getClientRects().length && !element.closest("dialog"))
  .filter((element) => ["hidden", "clip"].includes(getComputedStyle(element).overflowX)
    || getComputedStyle(element).webkitLineClamp !== "none" && getComputedStyle(element).display === "-webkit-box")
  .map((element) => element.outerHTML.slice(0, 100))
"""


def test_paper_is_light_shows_no_navigation_and_cuts_no_card(page: Any) -> None:
    page.emulate_media(media="print")
    page.set_viewport_size({"width": A4_BETWEEN_MARGINS, "height": 970})
    for gone in ("nav", "a.skip"):
        assert not page.locator(gone).is_visible()
    assert page.locator("h1").is_visible()
    colours = page.evaluate(
        "() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert colours == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    assert page.evaluate(CONTRAST)["poor"] == []
    assert page.evaluate(OVERFLOW) == [0, []]
    assert page.evaluate(CUT) == []
    kept_whole = "() => [...document.querySelectorAll('.card')].map((card) => getComputedStyle(card).breakInside)"
    assert set(page.evaluate(kept_whole)) == {"avoid"}
