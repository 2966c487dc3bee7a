"""The report is whole whatever is missing, escapes everything, and stores each picture once."""

from __future__ import annotations

import copy
import html.parser
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_example import HOSTILE, example_pictures, example_results

from beholder.evaluate.report import render_report, write_report
from beholder.evaluate.report_values import (
    interval,
    number,
    say_bytes,
    say_count,
    say_joules,
    say_percent,
    say_points,
    say_score,
    say_seconds,
    say_times,
)

NBSP = "\N{NO-BREAK SPACE}"
VOID = {"meta", "link", "img", "br", "hr"}


class Page(html.parser.HTMLParser):
    """The elements of a page, with a check that every one is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.words.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    return example_pictures(16)


@pytest.fixture(scope="module")
def page(pictures: dict[str, bytes]) -> Page:
    return Page(render_report(example_results(), pictures))


def paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key and place of nested objects and lists."""
    if before:
        yield before
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths(item, (*before, key))


def shortened(value: Any) -> Any:
    """The same with at most two items in each list, since a third is treated like the second."""
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    return [shortened(item) for item in value[:2]] if isinstance(value, list) else value


@pytest.mark.parametrize("chapter", sorted(example_results()))
def test_any_one_value_may_be_missing_or_of_the_wrong_kind(chapter: str) -> None:
    whole = {chapter: shortened(example_results()[chapter])}
    for index, path in enumerate(paths(whole)):
        for instead in (None, ("text", -3, [], {})[index % 4]):
            broken = copy.deepcopy(whole)
            parent: Any = broken
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = instead
            assert "</html>" in render_report(broken, {}), (path, instead)


def test_an_empty_run_still_has_a_page_that_says_what_is_missing() -> None:
    page = Page(render_report({}, {}))
    text = " ".join(page.words)
    assert "Not judged" in text
    assert "Not in this report" in text
    assert "No label curve" in text
    assert not page.all("img")


def test_a_run_without_labels_names_each_missing_part_in_one_sentence(pictures: dict[str, bytes]) -> None:
    results = example_results()
    for key in ("curve", "labels_saved", "score", "gallery", "explanation", "groups", "random_split"):
        del results[key]
    results["verdict"] = {"outcome": "not judged", "sentence": "Not judged: there are no labels."}
    page = Page(render_report(results, pictures))
    text = " ".join(page.words)
    assert "There are no labels." in text
    assert text.count("No label curve") == text.count("No answers were judged") == 1
    assert "curve" not in {attributes.get("id") for attributes in page.all("section")}


def test_names_from_the_data_cannot_become_code(page: Page) -> None:
    assert len(page.all("script")) == 1
    assert any("<script>alert('x')</script>" in said for said in page.words)
    titles = {attributes.get("title") for _, attributes in page.elements}
    assert HOSTILE in titles


def test_file_names_that_are_no_unicode_are_written_with_a_mark(tmp_path: Path) -> None:
    results = {"name": "a\ud800b\x00", "curation": {"quarantine": [{"key": "c\udcff.png", "reason": "not an image"}]}}
    write_report(results, {}, tmp_path / "report.html")
    assert "a\ufffdb\ufffd" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_every_picture_is_stored_once(pictures: dict[str, bytes]) -> None:
    text = render_report(example_results(), pictures)
    addresses = [
        attributes.get("src") or attributes.get("href") or ""
        for tag, attributes in Page(text).elements
        if tag in ("img", "image")
    ]
    assert len(addresses) == len(set(addresses)) > 20
    assert len(text) < 900_000


def test_the_same_bytes_under_two_names_are_one_picture(pictures: dict[str, bytes]) -> None:
    one = pictures["cell0"]
    results = {"curation": {"duplicates": [{"kind": "exact", "keys": ["a", "b"], "pictures": ["x", "y"]}]}}
    page = Page(render_report(results, {"x": one, "y": one}))
    assert len(page.all("image")) == 1
    assert len(page.all("use")) == 2


def test_every_reference_within_the_page_leads_somewhere(page: Page) -> None:
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    aims = [attributes["href"] or "" for tag, attributes in page.elements if tag in ("a", "use")]
    assert all(aim.startswith("#") and aim[1:] in identities for aim in aims)


def test_pictures_that_are_lost_or_broken_leave_a_mark(pictures: dict[str, bytes]) -> None:
    results = {"gallery": {"wrong": [{"key": "a.png", "picture": "lost"}, {"key": "b.png", "picture": "bad"}]}}
    text = render_report(results, {"bad": b"no image"})
    assert text.count("not kept</span>") == 2


def test_the_page_can_be_read_by_a_machine_voice(page: Page) -> None:
    assert page.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(attributes.get("alt") for attributes in page.all("img"))
    assert all(attributes.get("scope") for attributes in page.all("th"))
    assert all(a.get("aria-label") or a.get("aria-hidden") for a in page.all("svg"))


@pytest.mark.parametrize("outcome", ["helped", "no difference", "hurt", "not judged", None, "unheard of"])
def test_the_verdict_is_a_sign_and_words_not_a_colour_alone(outcome: str | None) -> None:
    text = " ".join(Page(render_report({"verdict": {"outcome": outcome}}, {})).words)
    said = {"helped": "▲ Adapting helped", "no difference": "= No difference", "hurt": "▼ Adapting hurt"}
    assert said.get(outcome or "", "? Not judged") in text


def test_the_headline_loses_no_word_of_the_verdict() -> None:
    sentence = "Helped: adapting raised it by 2 points (95 % interval 1 to 3); more is true. And more."
    text = render_report({"verdict": {"outcome": "helped", "sentence": sentence}}, {})
    heading = Page(text[text.index("<h1") : text.index("</h1>") + 5])
    assert " ".join("".join(heading.words).split()) == "A" + sentence.removeprefix("Helped: a")


def test_the_key_figure_shows_the_saving_of_what_is_shipped() -> None:
    results = example_results()
    text = " ".join(Page(render_report(results, {})).words)
    assert "18× by Generic + adapted" in text
    results["verdict"]["shipped"] = "generic"
    assert "6.1× by Generic" in " ".join(Page(render_report(results, {})).words)


def test_quantities_are_said_as_a_person_says_them() -> None:
    assert say_seconds(0.0123) == f"12{NBSP}ms"
    assert say_seconds(59.7) == f"1{NBSP}min{NBSP}00{NBSP}s"
    assert say_seconds(3600) == f"1{NBSP}h{NBSP}00{NBSP}min"
    assert say_joules(12_345) == f"12.3{NBSP}kJ"
    assert say_bytes(1536) == f"1.5{NBSP}kB" and say_joules(640) == f"640{NBSP}J"
    assert say_percent(0.004) == f"0.4{NBSP}%" and say_percent(0.05) == f"5{NBSP}%"
    assert say_percent(0.9999) == f">{NBSP}99.9{NBSP}%" and say_percent(1.0) == f"100{NBSP}%"
    assert say_percent(0.0001) == f"<{NBSP}0.1{NBSP}%" and say_percent(0) == f"0{NBSP}%"
    assert say_points(-0.0123) == "\N{MINUS SIGN}1.2" and say_points(0.00001) == "0.0" and say_points(0.02) == "+2.0"
    assert say_times(2.345) == "2.3×" and say_times(17.6) == "18×"
    assert say_score(0.87149) == "0.871" and say_count(1234.0) == "1,234"
    assert {say(None) for say in (say_seconds, say_joules, say_percent, say_points, say_times, say_score)} == {"–"}


def text_of(results: dict[str, Any], pictures: dict[str, bytes] | None = None) -> str:
    """The words of the page, with plain spaces between them."""
    return " ".join(" ".join(Page(render_report(results, pictures or {})).words).split())


@pytest.mark.parametrize("ends", [[0.8, 27.5], None])
def test_a_saving_that_the_data_does_not_show_is_no_large_figure(ends: list[float] | None) -> None:
    results = example_results()
    for row in results["labels_saved"]["rows"]:
        row["interval"] = ends
    text = text_of(results)
    assert "Fewer labels unclear 18× by Generic + adapted, " in text


def test_a_bound_is_told_as_one() -> None:
    results = example_results()
    for row in results["labels_saved"]["rows"]:
        row["is_at_least"] = True
    text = text_of(results)
    assert "Fewer labels ≥ 18× by Generic + adapted" in text
    assert "≤ 83" in text


def test_the_training_is_told_with_its_images_where_they_are_known() -> None:
    results = example_results()
    assert "told from all others however it is cropped and tinted. 6,000 steps on 1,884 images in " in text_of(results)
    del results["training"]["num_images"]
    assert "tinted. 6,000 steps in " in text_of(results)


def test_why_a_model_is_shipped_is_said_once_and_beside_it() -> None:
    text = text_of(example_results())
    assert text.count("Shipped model: generic + adapted") == 1 and "Shipped: " not in text
    assert "side by side), because validation surely prefers it: with all labels of the training" in text
    assert "4.8 points at 5 %." in text


def test_a_cut_gallery_says_of_how_many_it_is(pictures: dict[str, bytes]) -> None:
    results = example_results()
    text = text_of(results, pictures)
    assert "6 of 565 shown, the surest of each class." in text  # the diagonal of the confusion matrix
    assert "6 of 111 shown, the surest first." in text
    assert "6 of 2,561 shown, the most unusual first." in text
    one = {"key": "a.png", "what": "dark", "value": 1.0, "picture": "cell1"}
    pair = {"kind": "near", "keys": ["a", "b"], "pictures": ["cell1", "cell2"]}
    cut = {"curation": {"outliers": [one] * 30, "duplicates": [pair] * 20}, "gallery": {"wrong": [one] * 14}}
    text = text_of(cut, pictures)
    assert "12 of 30 shown." in text and "12 of 20 shown." in text and "12 of 14 shown, the surest first." in text
    whole = {"curation": {"outliers": [one] * 3}, "gallery": {"wrong": [one] * 4}}
    assert " shown" not in text_of(whole, pictures)


def test_quarantine_counts_what_the_run_counted_and_not_what_is_listed() -> None:
    results = {"data": {"num_quarantined": 350}, "curation": {"quarantine": [{"key": "a", "reason": "broken"}] * 200}}
    text = text_of(results)
    assert "350 files could not be used" in text and "150 more files in quarantine.jsonl" in text


def test_fine_tuning_shows_the_test_part_before_and_after() -> None:
    results = example_results()
    text = text_of(results)
    assert "Learning from the labels Low-rank fine-tuning was kept: +1.10 points" in text
    assert "Before 0.871" in text and "After fine-tuning 0.884" in text
    assert "470 steps on 1,413 labelled images. Whether it was worth it was judged on 471 others." in text
    assert "Learning from the labels" not in text_of({**results, "finetuning": None})
    alone = text_of({"finetuning": results["finetuning"]})
    assert "How the learning went" in alone and "Nothing was trained" not in alone


def test_a_split_by_single_images_is_told_only_where_there_were_groups() -> None:
    results = example_results()
    assert "What a random split would have claimed" in text_of(results)
    results["random_split"] |= {"random": 0.871, "flatters": False}
    assert "What a random split would have claimed" not in text_of(results)


def test_sentences_get_real_minus_signs_and_whole_options() -> None:
    sentence = "No difference: +0.0 points (95% interval -3.2 to +3.3); see part-2 of a/-1.png, 10.05 -0.05, --group."
    text = render_report({"data": {"notes": [sentence]}}, {})
    assert "0.0 points (95\N{NO-BREAK SPACE}% interval \N{MINUS SIGN}3.2 to +3.3)" in text
    assert "+0.0" not in text and "part-2 of a/-1.png, 10.05 \N{MINUS SIGN}0.05" in text
    assert '<span class="whole-word">--group</span>.' in text


def test_values_that_are_no_numbers_are_absent() -> None:
    assert number({"a": float("nan")}, "a") is None and number({"a": True}, "a") is None
    assert number({"a": {"b": 2}}, "a", "b") == 2.0 and number([], "a") is None
    assert interval({"a": [2, 1]}, "a") == (1.0, 2.0) and interval({"a": [1, None]}, "a") is None
