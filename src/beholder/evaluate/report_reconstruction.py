"""`report.html` of an image tokenizer: originals beside what came back from their codes, and the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beholder.evaluate.chart_tables import data_table
from beholder.evaluate.markup import Child, Markup, tag
from beholder.evaluate.report import render_page
from beholder.evaluate.report_data import data_section
from beholder.evaluate.report_opening import in_brackets, opening_of
from beholder.evaluate.report_pictures import Album, open_album, show
from beholder.evaluate.report_run import cost_section, glossary_section, settings_section
from beholder.evaluate.report_section import Section, name_of, note, part, section
from beholder.evaluate.report_training import training_section
from beholder.evaluate.report_values import (
    dig,
    elements,
    interval,
    number,
    records,
    say_count,
    say_percent,
    say_score,
    words,
)
from beholder.evaluate.report_verdict import cost_figure, figure, images_figure
from beholder.runtime.files import write_text

_GLOSSARY = (
    (
        "Code",
        "A whole number that stands for one square of a picture; the decoder paints the picture from these numbers "
        "alone.",
    ),
    (
        "PSNR",
        "How small the error of the pixels is, in decibels: 10 more means a tenth of the squared error; around 20 a "
        "picture is recognisable, above 30 the difference is hard to see.",
    ),
    ("SSIM", "How alike light, contrast and structure are in small windows: 1 for equal pictures, near 0 for none."),
    (
        "Fréchet distance",
        "How far apart two sets of pictures are in the features that are named beside it; it can be compared within "
        "this page only, never with distances in other features.",
    ),
    ("Perplexity", "How many codes, if all were used equally often, would carry as much as these do."),
    (
        "95 % interval",
        "If everything were judged again by other pictures of the same kind, the value would lie in such an interval "
        "about 95 times out of 100.",
    ),
)


def write_reconstruction_report(results: Mapping[str, Any], pictures: Mapping[str, bytes], path: Path) -> None:
    """Write one self-contained page about a tokenizer; `pictures` by the ids that the gallery in `results` mentions."""
    album = open_album(results, pictures)
    chapters = (
        _pictures_section(results, album),
        _figures_section(results),
        training_section(results),
        data_section(results, album),
        cost_section(results),
        settings_section(results, ()),
        glossary_section(_GLOSSARY),
    )
    write_text(path, render_page(results, album, _opening(results), chapters))


def headline(figures: Mapping[str, Any]) -> str:
    """What was found, as one sentence of plain text."""
    value, ends = number(figures, "psnr", "value"), interval(figures, "psnr", "interval")
    around = f" (95 % interval {ends[0]:.1f} to {ends[1]:.1f})" if ends else ""
    side, tokens = words(figures, "size"), number(figures, "num_tokens")
    codes = say_count(number(figures, "num_codes"))
    assert value is not None, "a tokenizer is always judged"
    return (
        f"Held-out pictures come back with a PSNR of {value:.1f} dB from {say_count(tokens)} codes of {codes} for "
        f"{side} x {side} pixels{around}."
    )


def _opening(results: Mapping[str, Any]) -> Markup:
    figures = dig(results, "reconstruction")
    gain = number(figures, "gain_over_shrunk", "value")
    details = (
        f"Shrunk to one pixel a code and enlarged again, which keeps more bits, the same pictures have "
        f"{number(figures, 'shrunk_psnr', 'value'):.1f} dB; the codec is {abs(gain):.1f} dB "
        f"{'above' if gain > 0 else 'below'} that."
        if gain is not None
        else None
    )
    shown = [
        images_figure(results),
        figure("SSIM", say_score(number(figures, "ssim", "value")), _around(figures, "ssim")),
        figure(
            "Codes used",
            say_percent(number(figures, "codes", "share_used")),
            f"of {say_count(number(figures, 'num_codes'))}, in "
            f"{say_count(number(figures, 'codes', 'num_pictures'))} pictures",
        ),
        cost_figure(results),
    ]
    return opening_of(results, _mark(figures), *in_brackets(headline(figures)), shown, details)


def _around(figures: Mapping[str, Any], name: str) -> str:
    ends = interval(figures, name, "interval")
    return f"95 % interval {say_score(ends[0])} to {say_score(ends[1])}" if ends else "on held-out pictures"


def _mark(figures: Mapping[str, Any]) -> tuple[str, str, str]:
    """Whether the codec is surely better than a thumbnail."""
    low, high = interval(figures, "gain_over_shrunk", "interval") or (0.0, 0.0)
    if low > 0:
        return "helped", "▲", "Better than a thumbnail"
    if high < 0:
        return "hurt", "▼", "Worse than a thumbnail"
    return "same", "=", "Not surely better than a thumbnail"


def _pictures_section(results: Mapping[str, Any], album: Album) -> Section:
    return section(
        "pictures",
        "Pictures",
        "What comes back",
        "Left the original, right what the decoder painted from its codes. None of these was learned from.",
        _gallery("Typical", records(results, "gallery", "typical"), album, "around the middle by PSNR"),
        _gallery("The worst", records(results, "gallery", "worst"), album, "lowest PSNR of all that are held out"),
    )


def _gallery(title: str, shown: Sequence[Mapping[str, Any]], album: Album, order: str) -> Child:
    if not shown:
        return None
    return part(
        title, note(f"{len(shown)} shown, {order}."), tag("ul", [_card(one, album) for one in shown], class_="gallery")
    )


def _card(record: Mapping[str, Any], album: Album) -> Markup:
    key = words(record, "key") or "unnamed"
    original, painted, *_ = (*elements(record, "pictures"), None, None)
    pair = tag("div", show(album, original, key), show(album, painted, f"{key}, painted from codes"), class_="pair")
    caption = tag("figcaption", tag("span", f"{number(record, 'psnr'):.1f} dB", class_="answer"), name_of(key))
    return tag("li", tag("figure", pair, caption, class_="card"))


def _figures_section(results: Mapping[str, Any]) -> Section:
    figures = dig(results, "reconstruction")
    side, tokens = words(figures, "size"), number(figures, "num_tokens") or 0.0
    thumbnail = f"Thumbnail, {tokens**0.5:.0f} x {tokens**0.5:.0f}"
    rows = [
        ["PSNR, dB", _cell(figures, "psnr", "{:.1f}"), _cell(figures, "shrunk_psnr", "{:.1f}"), None],
        ["SSIM", _cell(figures, "ssim", "{:.3f}"), _cell(figures, "shrunk_ssim", "{:.3f}"), None],
        ["Fréchet distance", *(_distance(figures, name) for name in ("painted", "shrunk", "other_originals"))],
    ]
    codes = dig(figures, "codes")
    facts = [
        ("Codes", f"{say_count(number(figures, 'num_codes'))}, {say_count(tokens)} for {side} x {side} pixels"),
        ("Used", f"{say_percent(number(codes, 'share_used'))} in {say_count(number(codes, 'num_pictures'))} pictures"),
        ("Used in held-out pictures", say_percent(number(codes, "share_used_held_out"))),
        ("Perplexity", say_count(number(codes, "perplexity"))),
        ("Weights", say_count(number(figures, "num_parameters"))),
    ]
    masks, ends = dig(figures, "masks"), interval(figures, "masks", "interval")
    if masks:
        around = f", {say_score(ends[0])} to {say_score(ends[1])}" if ends else ""
        told = f"intersection over union {say_score(number(masks, 'value'))}{around}"
        facts.append((f"{say_count(number(masks, 'num_judged'))} held-out masks", told))
    return section(
        "figures",
        "Figures",
        "How good it is",
        f"Judged on {say_count(number(figures, 'num_judged'))} pictures in {say_count(number(figures, 'num_groups'))} "
        "groups that were held out; below each figure its 95 % interval over groups.",
        data_table(
            "Figures of held-out pictures", ["", "Codec", thumbnail, "Other originals"], rows, numeric=(1, 2, 3)
        ),
        note(
            f"Fréchet distance between these {say_count(number(figures, 'frechet', 'num_pictures'))} pictures and the "
            f"same as painted, shrunk, or other originals; features: {words(figures, 'frechet', 'features')}. The loss "
            "never saw these features."
        ),
        tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts], class_="facts"),
    )


def _cell(figures: Mapping[str, Any], name: str, write: str) -> Child:
    value, ends = number(figures, name, "value"), interval(figures, name, "interval")
    if value is None:
        return None
    around = tag("small", f"{write} to {write}".format(*ends)) if ends else None
    return [tag("b", write.format(value)), around]


def _distance(figures: Mapping[str, Any], name: str) -> Child:
    value = number(figures, "frechet", name)
    return None if value is None else tag("b", f"{value:.3g}")
