"""Areas over time: stacked steps (how many are where) or one filled curve (how much)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nervure_simulations.report.charts.frame import Frame, Plot, legend
from nervure_simulations.report.charts.svg import Markup, join, number, tag


@dataclass(frozen=True, slots=True)
class Band:
    """One layer.

    Args:
        label: In the legend.
        values: One value at each of the chart's x positions.
        colour: CSS colour.
    """

    label: str
    values: Sequence[float]
    colour: str


def band_chart(frame: Frame, xs: Sequence[float], bands: Sequence[Band], *, step: bool = True) -> Markup:
    """Draw layers on top of each other, the first one at the bottom.

    Args:
        frame: The axes.
        xs: The x positions, ascending.
        bands: The layers, each as long as ``xs``.
        step: Hold each value until the next (counts) or join them (amounts).
    """
    plot = Plot(frame)
    below = [0.0] * len(xs)
    for band in bands:
        above = [base + value for base, value in zip(below, band.values, strict=True)]
        if any(band.values):
            edge = _edge(plot, xs, above, step=step)
            outline = edge + _edge(plot, xs, below, step=step)[::-1]
            path = "M" + " L".join(f"{number(x)} {number(y)}" for x, y in outline) + " Z"
            top = "M" + " L".join(f"{number(x)} {number(y)}" for x, y in edge)
            style = f"--c:{band.colour}"
            highest = frame.y_format(max(band.values))
            plot.add(tag("path", tag("title", f"{band.label}: at most {highest}"), d=path, class_="band", style=style))
            plot.add(tag("path", d=top, class_="band-edge", style=style))
        below = above
    return join(plot.done(), legend([(band.label, band.colour, "area") for band in bands]))


def _edge(plot: Plot, xs: Sequence[float], ys: Sequence[float], *, step: bool) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    for index, (x, y) in enumerate(zip(xs, ys, strict=True)):
        if step and index:
            points.append((plot.x.at(x), points[-1][1]))
        points.append((plot.x.at(x), plot.y.at(y)))
    return points
