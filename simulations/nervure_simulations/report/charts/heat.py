"""A grid of cells, each shaded by its value: many rows over the same few columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nervure_simulations.report.charts.frame import Frame, Plot
from nervure_simulations.report.charts.svg import Markup, join, tag


@dataclass(frozen=True, slots=True)
class Shade:
    """How a value becomes a colour: from the panel's own colour at ``low`` to ``colour`` at ``high``.

    Args:
        low: Drawn blank.
        high: Drawn in full; may lie below ``low`` where less is more striking.
        colour: CSS colour.
        words: Writes a value.
        low_words: The legend's word for ``low``.
        high_words: The legend's word for ``high``.
    """

    low: float
    high: float
    colour: str
    words: Callable[[float], str]
    low_words: str
    high_words: str

    def of(self, value: float) -> str:
        """Return the CSS colour of a value."""
        depth = min(max((value - self.low) / ((self.high - self.low) or 1.0), 0.0), 1.0)
        return f"color-mix(in oklab, {self.colour} {round(depth * 100)}%, var(--panel))"


def heat_chart(
    frame: Frame, rows: Sequence[tuple[str, Sequence[float | None]]], columns: Sequence[float], shade: Shade
) -> Markup:
    """Draw one row of cells a name.

    Args:
        frame: The axes; x covers the columns with half a column beside them, ``y_ticks=0``.
        rows: (name, one value a column; None leaves the cell out).
        columns: x of each column's middle.
        shade: From values to colours.
    """
    plot = Plot(frame)
    height = (plot.y.start - plot.y.end) / max(len(rows), 1)
    half = (plot.x.at(columns[0] + 1) - plot.x.at(columns[0])) / 2 if columns else 0.0
    for index, (name, values) in enumerate(rows):
        top = plot.y.end + index * height
        plot.add(tag("text", name, x=frame.left - 8, y=top + height / 2 + 3.5, class_="tick end lane-name"))
        for column, value in zip(columns, values, strict=True):
            if value is None:
                continue
            plot.add(
                tag(
                    "rect",
                    tag("title", f"{name}, {frame.x_label} {frame.x_format(column)}: {shade.words(value)}"),
                    x=plot.x.at(column) - half + 0.75,
                    y=top + 0.75,
                    width=half * 2 - 1.5,
                    height=height - 1.5,
                    rx=2,
                    class_="cell",
                    style=f"--c:{shade.of(value)}",
                )
            )
    ramp = tag("span", class_="ramp", style=f"--c:{shade.colour}", aria_hidden="true")
    return join(plot.done(), tag("p", shade.low_words, ramp, shade.high_words, class_="legend"))
