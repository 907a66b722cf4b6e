"""Pieces that several sections share: panels, tables, colours of regions, words for numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nervure_simulations.report.charts import Markup, tag
from nervure_simulations.report.charts.frame import Mark
from nervure_simulations.report.model import Report

REGION_COLOURS = 6  # the page's style has so many: --r0 .. --r5


def region_colours(report: Report) -> dict[str, str]:
    """Give every region a colour of its own, the same in every chart."""
    return {name: f"var(--r{index % REGION_COLOURS})" for index, name in enumerate(report.regions)}


def panel(title: str, note: str, *content: Markup | None) -> Markup:
    """Return a figure: what it shows, how to read it, and the thing itself."""
    caption = tag("figcaption", tag("h3", title), tag("p", note) if note else None) if title else None
    return tag("figure", caption, *content, class_="panel")


def section(title: str, note: str, *content: Markup | None, anchor: str) -> Markup:
    """Return a section of the page."""
    return tag("section", tag("h2", title), tag("p", note, class_="note") if note else None, *content, id=anchor)


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[int] = ()
) -> Markup:
    """Return a table whose first column names the row; ``numbers`` are the columns set flush right."""
    flush = dict.fromkeys(numbers, "n")
    body = [
        tag(
            "tr",
            *(
                tag("td" if at else "th", cell, class_=flush.get(at), scope=None if at else "row")
                for at, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    header = tag("tr", *(tag("th", name, scope="col", class_=flush.get(at)) for at, name in enumerate(head)))
    inner = tag("table", tag("caption", caption) if caption else None, tag("thead", header), tag("tbody", *body))
    return tag("div", inner, class_="scroll")


def pairs(items: Mapping[str, object]) -> Markup:
    """Return a list of names and values."""
    return tag("dl", *(Markup(tag("dt", name) + tag("dd", value)) for name, value in items.items()))


def share(value: float | None, digits: int = 1) -> str:
    """Write a share as a percentage."""
    return "not measured" if value is None else f"{value * 100:.{digits}f} %"


def score(value: float | None) -> str:
    """Write an F1 or accuracy with the digits it deserves."""
    return "not measured" if value is None else f"{value:.4f}"


def seconds(value: float | None) -> str:
    """Write a duration."""
    if value is None:
        return "not measured"
    if value < 100:
        return f"{value:.1f} s"
    return f"{int(value // 60)} min {int(value % 60):02d} s"


def micros(value: float) -> str:
    """Write microseconds in the unit a reader expects."""
    if value < 1000:
        return f"{value:.3g} µs"
    if value < 1_000_000:
        return f"{value / 1000:.3g} ms"
    return f"{value / 1_000_000:.3g} s"


def mib(value: float | None) -> str:
    """Write memory."""
    return "not measured" if value is None else f"{value:,.0f} MiB"


def fault_marks(report: Report) -> list[Mark]:
    """Return the faults as bands over time: from the fault until the last agent was back."""
    return [
        Mark(
            at=fault.at_s,
            until=fault.last_rehomed_at_s,
            label=f"{fault.region} hub killed" if fault.kind == "kill-hub" else f"{fault.kind}: {fault.region}",
        )
        for fault in report.faults
    ]
