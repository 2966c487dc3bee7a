"""The charts keep their geometry: labels apart, ticks round, marks where the values are, text escaped."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.evaluate.chart_tables import (
    Scale,
    bar_list,
    bar_track,
    confusion_table,
    data_table,
    dot_track,
    signed_track,
    stacked_bar,
)
from beholder.evaluate.charts import Axes, Level, Line, line_chart, nice_ticks, sparkline, spread, swatch
from beholder.evaluate.markup import Markup, join, tag

HOSTILE = "</title><script>\"'&\x00\ud800"


def parsed(markup: str) -> ElementTree.Element:
    """The drawing as a tree; a stray bracket or quote would raise."""
    return ElementTree.fromstring(markup)


def points_of(markup: str, kind: str) -> list[tuple[float, float]]:
    shape = next(one for one in parsed(markup).iter() if kind in one.get("class", "").split())
    pairs = (pair.split(",") for pair in shape.get("points", "").split())
    return [(float(x), float(y)) for x, y in pairs]


def test_text_is_escaped_and_markup_is_not_escaped_twice() -> None:
    element = tag("p", HOSTILE, title=HOSTILE)
    assert "<script>" not in element and "\x00" not in element
    assert element.encode("utf-8")
    assert tag("div", element).count("&lt;script&gt;") == 2
    assert "&amp;lt;" not in tag("div", element)


def test_absent_children_and_attributes_vanish() -> None:
    assert tag("p", None, ["a", [None, 1]], id=None, hidden=False, open=True, class_="x") == '<p open class="x">a1</p>'
    assert join("<", Markup("<br>")) == "&lt;<br>"


@given(
    st.lists(st.tuples(st.floats(0, 400), st.floats(10, 40)), min_size=1, max_size=9),
)
@settings(max_examples=200, deadline=None)
def test_spread_labels_never_overlap_and_stay_inside(wanted: list[tuple[float, float]]) -> None:
    places, sizes = [place for place, _ in wanted], [size for _, size in wanted]
    centres = spread(places, sizes, 0.0, 400.0)
    edges = sorted((centre - size / 2, centre + size / 2) for centre, size in zip(centres, sizes, strict=True))
    assert all(first[1] <= second[0] + 1e-6 for first, second in itertools.pairwise(edges))
    assert edges[0][0] >= -1e-6
    assert edges[-1][1] <= 400 + 1e-6


def test_labels_that_have_room_stay_where_they_want_to_be() -> None:
    assert spread([50.0, 200.0, 100.0], [20.0, 20.0, 20.0], 0.0, 400.0) == [50.0, 200.0, 100.0]
    assert spread([100.0, 100.0], [20.0, 20.0], 0.0, 400.0) == [90.0, 110.0]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
@settings(deadline=None)
def test_ticks_are_few_and_enclose_the_range(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span)
    slack = 1e-6 * (ticks[-1] - ticks[0])
    assert ticks[0] <= low + slack and ticks[-1] >= low + span - slack
    assert 2 <= len(ticks) <= 9


def test_a_log_axis_gives_equal_ratios_equal_lengths() -> None:
    axes = Axes([0.01, 0.1, 1.0], [], is_logarithmic=True)
    chart = line_chart([Line("a", [0.1, 0.5, 0.9])], axes, width=600, height=300, description="d")
    (x0, y0), (x1, y1), (x2, y2) = points_of(chart, "stroke")
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 > y1 > y2, "higher values stand higher"


def test_a_gap_in_the_values_is_not_drawn() -> None:
    axes = Axes([1.0, 2.0, 3.0], [])
    line = Line("a", [None, 0.2, 0.4], low=[None, 0.1, None], high=[None, 0.3, None])
    chart = line_chart([line], axes, width=600, height=300, description="d")
    assert len(points_of(chart, "stroke")) == 2
    assert "band" not in chart


def test_the_band_encloses_the_line() -> None:
    axes = Axes([1.0, 2.0], [])
    line = Line("a", [0.5, 0.6], low=[0.4, 0.5], high=[0.7, 0.8])
    chart = line_chart([line], axes, width=600, height=300, description="d")
    (_, low), _, _, (_, high) = points_of(chart, "band")
    assert high < points_of(chart, "stroke")[0][1] < low


@pytest.mark.parametrize("values", [[], [None], [0.5], [0.5, 0.5], [0.0, 0.0], [1e9, -1e9]])
def test_odd_lines_still_make_a_drawing(values: list[float | None]) -> None:
    axes = Axes([float(place + 1) for place in range(len(values))], [], is_logarithmic=True)
    level = Level(0.4, HOSTILE)
    chart = line_chart([Line(HOSTILE, values)], axes, width=600, height=300, description=HOSTILE, level=level)
    assert parsed(chart).tag == "svg"
    assert "nan" not in chart and "inf" not in chart


def test_a_tooltip_tells_value_interval_and_place() -> None:
    axes = Axes([1.0], [], tell=["5 % of labels"])
    chart = line_chart([Line("Arm", [0.8], [0.7], [0.9])], axes, width=600, height=300, description="d")
    titles = [one.text for one in parsed(chart).iter("title")]
    assert titles == ["Arm: 0.800 at 5 % of labels (95 % interval 0.700 to 0.900)"]


def test_sparklines_end_at_the_last_value() -> None:
    drawing = sparkline([1.0, 3.0, None], colour="adapted", description="d")
    dot = next(parsed(drawing).iter("circle"))
    x, y = points_of(drawing, "stroke")[-1]
    assert (float(dot.get("cx", 0)), float(dot.get("cy", 0))) == pytest.approx((x, y), abs=0.1)
    assert sparkline([None], colour="adapted", description="d") == ""
    assert parsed(swatch(Line("a", [1.0], is_dashed=True))).find(".//*[@class='stroke dashed']") is not None


def test_places_on_a_track_are_in_order_and_held_inside() -> None:
    scale = Scale(0.0, 1.0)
    places = [float(scale.place(value).rstrip("%")) for value in (-5.0, 0.0, 0.4, 1.0, 9.0)]
    assert places == sorted(places) and places[0] == places[1] == 3.0 and places[-1] == 97.0
    assert Scale(1.0, 1.0).place(1.0) == "50.00%"


def test_tracks_tell_their_value_without_sight() -> None:
    tracks = (
        dot_track(Scale(0, 1), 0.5, colour="generic", told=HOSTILE, interval=(0.2, 0.7), reference=0.6),
        bar_track(2.0, colour="generic", told=HOSTILE, tick=0.5),
        signed_track(-0.2, 0.4, colour="generic", told=HOSTILE),
        stacked_bar([("a", 0.0, "generic")], description=HOSTILE),
    )
    for track in tracks:
        assert parsed(track).get("role") == "img" and "<script>" in (parsed(track).get("aria-label") or "")


def test_a_loss_goes_left_and_a_gain_goes_right() -> None:
    def bar(value: float) -> tuple[float, float]:
        rect = next(parsed(signed_track(value, 0.4, colour="generic", told="t")).iter("rect"))
        return float(rect.get("x", "").rstrip("%")), float(rect.get("width", "").rstrip("%"))

    assert bar(0.4) == (50.0, 50.0)
    assert bar(-0.2) == (25.0, 25.0)


def test_stacked_shares_fill_the_bar() -> None:
    drawing = stacked_bar([("a", 1, "x"), ("b", 3, "y")], description="d")
    widths = [float(rect.get("width", "").rstrip("%")) for rect in parsed(drawing).iter("rect")]
    assert widths == [25.0, 75.0]


def test_tables_name_their_rows_and_columns() -> None:
    table = parsed(data_table("Caption", ["a", "b"], [["x", "1"], ["y", "2"]], numeric=(1,)))
    assert [one.get("scope") for one in table.iter("th")] == ["col", "col", "row", "row"]
    assert table.get("tabindex") == "0", "a table that scrolls is reached by the keyboard"


def test_the_confusion_matrix_shades_by_share_of_its_row() -> None:
    cells = list(parsed(confusion_table(["a", HOSTILE], [[3, 1], [0, None]])).iter("td"))[1:]
    assert [cell.get("style") for cell in cells] == ["--share:0.750", "--share:0.250", "--share:0.000", "--share:0.000"]
    assert [cell.get("class") for cell in cells] == ["right", "wrong", "wrong", "right"]


def test_bars_carry_their_counts() -> None:
    markup = bar_list([("a", 1200.0), ("b", 0.0)], colour="generic", total=1200.0)
    assert "1,200 · 100\N{NO-BREAK SPACE}%" in markup
    assert bar_list([], colour="generic") == ""


def test_both_axes_can_be_logarithmic_so_that_a_power_is_a_straight_line() -> None:
    places = [1e5, 1e6, 1e7]
    line = Line("law", [10 * place**-0.07 for place in places])
    axes = Axes(places, [], is_logarithmic=True, is_y_logarithmic=True)
    chart = line_chart([line], axes, width=600, height=300, description="d")
    (x0, y0), (x1, y1), (x2, y2) = points_of(chart, "stroke")
    assert (y1 - y0) / (x1 - x0) == pytest.approx((y2 - y1) / (x2 - x1), rel=1e-2)


def test_points_can_stand_without_a_stroke_and_a_stroke_without_points() -> None:
    lines = [Line("a", [0.1, 0.2], has_stroke=False), Line("b", [0.3, 0.4], has_markers=False)]
    chart = line_chart(lines, Axes([1.0, 2.0], []), width=600, height=300, description="d", has_end_labels=False)
    shapes = [one.get("class", "").split() for one in parsed(chart).iter()]
    assert sum("stroke" in classes for classes in shapes) == 1 and sum("point" in classes for classes in shapes) == 2
