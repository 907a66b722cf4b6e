"""Charts are plain functions: scales map inside their range, ticks are round, and markup is always well formed."""

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nervure_simulations.report.charts import (
    Band,
    Frame,
    Lane,
    Line,
    Span,
    band_chart,
    histogram_chart,
    lane_chart,
    line_chart,
    linear,
    logarithmic,
    tag,
)
from nervure_simulations.report.charts.frame import Mark, percent, plain
from nervure_simulations.report.charts.scale import nice_step

finite = st.floats(-1e9, 1e9, allow_nan=False)


@given(low=finite, width=st.floats(1e-6, 1e9), value=finite)
def test_a_scale_never_draws_outside_its_range(low: float, width: float, value: float) -> None:
    scale = linear((low, low + width), 40.0, 240.0)
    assert 40.0 <= scale.at(value) <= 240.0


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6), about=st.integers(1, 12))
def test_ticks_are_round_ascending_and_inside(low: float, width: float, about: int) -> None:
    ticks = linear((low, low + width), 0.0, 1.0).ticks(about)
    assert ticks == sorted(ticks)
    assert len(ticks) <= about + 1
    slack = nice_step(width / about) * 1e-6
    assert all(low - slack <= tick <= low + width + slack for tick in ticks)


@given(low=st.floats(1e-3, 1e3), decades=st.floats(0.5, 8))
def test_logarithmic_ticks_lie_inside(low: float, decades: float) -> None:
    high = low * 10**decades
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in logarithmic((low, high), 0, 1).ticks(5))


def test_an_empty_domain_still_draws() -> None:
    assert math.isfinite(linear((3.0, 3.0), 0, 10).at(3.0))
    assert math.isfinite(logarithmic((0.0, 0.0), 0, 10).at(1.0))


@given(word=st.text(max_size=40), value=st.text(max_size=40))
def test_no_text_can_break_the_markup(word: str, value: str) -> None:
    allowed = "".join(char for char in word + value if char.isprintable())
    element = ET.fromstring(tag("g", tag("text", allowed), class_=allowed))
    assert element.get("class") == allowed
    assert (element[0].text or "") == allowed


@pytest.mark.parametrize(
    "chart",
    [
        line_chart(
            Frame("lines", x=(0, 2), y=(0, 1)), [Line("a", [(0, 0.1), (2, 0.9)], "red", hollow=frozenset({2.0}))]
        ),
        line_chart(Frame("nothing", x=(0, 0), y=(0, 0)), [Line("a", [], "red")]),
        band_chart(
            Frame("bands", x=(0, 2), y=(0, 4)), [0, 1, 2], [Band("a", [1, 2, 1], "red"), Band("b", [0, 0, 0], "")]
        ),
        histogram_chart(Frame("h", x=(1, 100), y=(0, 9), x_log=True), [(1, 2, 9), (2, 4, 0)], colour="red"),
        lane_chart(
            Frame("lanes", x=(0, 9), y=(0, 1), y_ticks=0, marks=[Mark(3, "x", until=4), Mark(8, "y")]),
            [Lane("agent <1>", [Span(0, 3, "here", "red"), Span(3, 9, "nowhere", "")])],
            [("here", "red", "area")],
        ),
    ],
)
def test_every_chart_is_well_formed_and_named_for_screen_readers(chart: str) -> None:
    root = ET.fromstring(f"<div>{chart}</div>")
    svg = root.find("svg")
    assert svg is not None
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == svg.findtext("title")


def test_points_say_their_value_when_hovered() -> None:
    chart = line_chart(
        Frame("f", x=(0, 1), y=(0, 1), x_label="round", y_format=percent), [Line("asia", [(1, 0.125)], "red")]
    )
    assert "<title>asia: 12.5% (round 1)</title>" in chart


def test_numbers_are_written_as_people_write_them() -> None:
    assert [plain(value) for value in (0.25, 12.0, 12_000, 3_400_000)] == ["0.25", "12", "12k", "3.4M"]
