"""Lines over a common x axis, with points to hover over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nervure_simulations.report.charts.frame import Frame, Plot, legend
from nervure_simulations.report.charts.svg import Markup, join, number, tag


@dataclass(frozen=True, slots=True)
class Line:
    """One series.

    Args:
        label: In the legend and in every point's title.
        points: (x, y), in the order of x.
        colour: CSS colour.
        dash: Draw it dashed: a comparison, not a measurement over x.
        strong: Draw it thicker: the main thing.
        dots: Draw a point at each value.
        hollow: x values whose point is drawn hollow, for candidates that were not accepted.
    """

    label: str
    points: Sequence[tuple[float, float]]
    colour: str
    dash: bool = False
    strong: bool = False
    dots: bool = True
    hollow: frozenset[float] = frozenset()


def line_chart(frame: Frame, lines: Sequence[Line]) -> Markup:
    """Draw lines; the strong ones on top."""
    plot = Plot(frame)
    for line in sorted(lines, key=lambda one: one.strong):
        if not line.points:
            continue
        path = " ".join(f"{number(plot.x.at(x))},{number(plot.y.at(y))}" for x, y in line.points)
        classes = f"line{' dash' if line.dash else ''}{' strong' if line.strong else ''}"
        plot.add(tag("polyline", points=path, class_=classes, style=f"--c:{line.colour}"))
        if line.dots:
            plot.add(*(_dot(plot, line, x, y) for x, y in line.points))
    keys = [(line.label, line.colour, "dash" if line.dash else "line") for line in lines if line.points]
    return join(plot.done(), legend(keys))


def _dot(plot: Plot, line: Line, x: float, y: float) -> Markup:
    frame = plot.frame
    title = f"{line.label}: {frame.y_format(y)} ({frame.x_label or 'x'} {frame.x_format(x)})"
    return tag(
        "circle",
        tag("title", title),
        cx=plot.x.at(x),
        cy=plot.y.at(y),
        r=4.2 if line.strong else 2.8,
        class_="dot hollow" if x in line.hollow else "dot",
        style=f"--c:{line.colour}",
    )
