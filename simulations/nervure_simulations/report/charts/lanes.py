"""Lanes: one row for each agent, coloured by what holds from when until when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nervure_simulations.report.charts.frame import BOTTOM, TOP, Frame, Plot, legend
from nervure_simulations.report.charts.svg import Markup, join, tag


@dataclass(frozen=True, slots=True)
class Span:
    """What holds for a while.

    Args:
        start: x where it begins.
        end: x where it ends.
        label: In its title.
        colour: CSS colour; empty draws a gap.
    """

    start: float
    end: float
    label: str
    colour: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One row."""

    label: str
    spans: Sequence[Span]


def lane_height(lanes: int, row: float = 13.0) -> float:
    """Return the height of a chart with so many lanes, for ``Frame.height``."""
    return TOP + 12.0 + lanes * row + BOTTOM


def lane_chart(
    frame: Frame, lanes: Sequence[Lane], keys: Sequence[tuple[str, str, str]], *, label_every: int = 1
) -> Markup:
    """Draw lanes from top to bottom.

    Args:
        frame: The axes; y domain is (0, number of lanes), with ``y_ticks=0``.
        lanes: The rows.
        keys: The legend: (label, colour, shape).
        label_every: Write the label of every n-th lane only, where rows are too close for text.
    """
    plot = Plot(frame)
    rows = max(len(lanes), 1)
    height = (plot.y.start - plot.y.end) / rows
    gap = 1.0 if height < 9 else 2.0
    for index, lane in enumerate(lanes):
        top = plot.y.end + index * height
        if index % label_every == 0:
            plot.add(tag("text", lane.label, x=frame.left - 8, y=top + height / 2 + 3.5, class_="tick end lane-name"))
        for span in lane.spans:
            left, right = plot.x.at(span.start), plot.x.at(span.end)
            if right <= left:
                continue
            plot.add(
                tag(
                    "rect",
                    tag("title", f"{lane.label}: {span.label}, {span.start:.1f} s to {span.end:.1f} s"),
                    x=left,
                    y=top + gap / 2,
                    width=right - left,
                    height=height - gap,
                    class_="span" if span.colour else "span none",
                    style=f"--c:{span.colour}" if span.colour else None,
                )
            )
    return join(plot.done(marks_on_top=True), legend(keys))
