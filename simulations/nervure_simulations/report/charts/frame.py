"""The frame round a plot: axes, grid, labels, legend, and marks on the time line.

A ``Plot`` is what a chart function draws into: it has the two scales and collects markup; ``Plot.done`` wraps it in an
``<svg>`` that scales with the page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nervure_simulations.report.charts.scale import Scale, linear, logarithmic
from nervure_simulations.report.charts.svg import Markup, join, tag

LEFT, RIGHT, TOP, BOTTOM = 54.0, 16.0, 14.0, 40.0


def plain(value: float) -> str:
    """Write a number the way people do: 12 000 as 12k, no needless decimals."""
    if abs(value) >= 1_000_000:
        return f"{value / 1_000_000:.3g}M"
    if abs(value) >= 10_000:
        return f"{value / 1000:.4g}k"
    return f"{value:.6g}"


def percent(value: float) -> str:
    """Write a share as a percentage, with as many decimals as it needs."""
    return f"{value * 100:.4g}%"


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical mark, or a band when it has an end.

    Args:
        at: Where it starts on the x axis.
        label: Shown at the top.
        until: Where the band ends; None: a line.
        colour: CSS colour.
    """

    at: float
    label: str
    until: float | None = None
    colour: str = "var(--fault)"


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything of a chart that is not data.

    Args:
        title: Read out by screen readers.
        x: Domain of the x axis.
        y: Domain of the y axis.
        x_label: Below the axis.
        y_label: Above the axis.
        x_log: Logarithmic x axis.
        x_format: Writes x ticks.
        y_format: Writes y ticks.
        x_ticks: About how many.
        y_ticks: About how many; 0 draws none.
        marks: Vertical marks and bands, drawn under the data.
        width: Pixels of the drawing; the page scales it.
        height: Pixels of the drawing.
        left: Room for the y ticks.
    """

    title: str
    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str = ""
    y_label: str = ""
    x_log: bool = False
    x_format: Callable[[float], str] = plain
    y_format: Callable[[float], str] = plain
    x_ticks: int = 6
    y_ticks: int = 5
    marks: Sequence[Mark] = ()
    width: float = 560.0
    height: float = 270.0
    left: float = LEFT


@dataclass(slots=True)
class Plot:
    """A chart being drawn."""

    frame: Frame
    x: Scale = field(init=False)
    y: Scale = field(init=False)
    body: list[Markup] = field(default_factory=list[Markup])

    def __post_init__(self) -> None:
        frame = self.frame
        make = logarithmic if frame.x_log else linear
        self.x = make(frame.x, frame.left, frame.width - RIGHT)
        self.y = linear(
            frame.y, frame.height - BOTTOM, TOP + (14.0 if frame.y_label else 0.0) + (12.0 if frame.marks else 0.0)
        )

    def add(self, *parts: Markup) -> None:
        """Draw something."""
        self.body.extend(parts)

    def done(self, *, marks_on_top: bool = False) -> Markup:
        """Return the whole ``<svg>``; marks lie under the data unless the data fills the plot."""
        frame = self.frame
        data = join(*self.body)
        return tag(
            "svg",
            tag("title", frame.title),
            self._grid(),
            *((data, self._marks()) if marks_on_top else (self._marks(), data)),
            viewBox=f"0 0 {frame.width:g} {frame.height:g}",
            role="img",
            class_="chart",
            aria_label=frame.title,
        )

    def _grid(self) -> Markup:
        frame, parts = self.frame, list[Markup]()
        bottom, top = self.y.start, self.y.end
        for value in self.y.ticks(frame.y_ticks) if frame.y_ticks else []:
            y = self.y.at(value)
            parts.append(tag("line", x1=frame.left, x2=frame.width - RIGHT, y1=y, y2=y, class_="grid"))
            parts.append(tag("text", frame.y_format(value), x=frame.left - 8, y=y + 4, class_="tick end"))
        for value in self.x.ticks(frame.x_ticks):
            x = self.x.at(value)
            parts.append(tag("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="axis"))
            parts.append(tag("text", frame.x_format(value), x=x, y=bottom + 17, class_="tick middle"))
        parts.append(tag("line", x1=frame.left, x2=frame.width - RIGHT, y1=bottom, y2=bottom, class_="axis"))
        if frame.x_label:
            middle = (frame.left + frame.width - RIGHT) / 2
            parts.append(tag("text", frame.x_label, x=middle, y=bottom + 34, class_="label middle"))
        if frame.y_label:
            parts.append(
                tag("text", frame.y_label, x=frame.left, y=top - 6 - (13.0 if frame.marks else 0.0), class_="label")
            )
        return join(*parts)

    def _marks(self) -> Markup:
        parts = list[Markup]()
        bottom, top = self.y.start, self.y.end
        for mark in self.frame.marks:
            x = self.x.at(mark.at)
            style = f"--mark:{mark.colour}"
            if mark.until is not None:
                width = max(self.x.at(mark.until) - x, 1.0)
                parts.append(tag("rect", x=x, y=top, width=width, height=bottom - top, class_="mark-band", style=style))
            parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="mark-line", style=style))
            near_end = x > self.frame.width * 0.75
            parts.append(
                tag(
                    "text",
                    mark.label,
                    x=x - 5 if near_end else x + 5,
                    y=top - 5,
                    class_="mark-text end" if near_end else "mark-text",
                    style=style,
                )
            )
        return join(*parts)


def legend(items: Sequence[tuple[str, str, str]]) -> Markup:
    """Return a legend as HTML: (label, CSS colour, ``line``, ``dash`` or ``area``) each."""
    return tag(
        "ul",
        *(
            tag("li", tag("span", class_=f"key {shape}", style=f"--c:{colour}", aria_hidden="true"), label)
            for label, colour, shape in items
        ),
        class_="legend",
    )
