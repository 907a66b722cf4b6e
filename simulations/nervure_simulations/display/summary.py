"""The table at the end of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nervure_simulations.report.model import Bar, Report


def print_summary(report: Report, page: Path, out: TextIO) -> None:
    """Print what came out, which promises were kept, and where the report lies."""
    console = Console(file=out, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    table.add_column("promise")
    table.add_column("measured", justify="right")
    table.add_column("bar", justify="right")
    table.add_column("")
    for bar in report.bars:
        table.add_row(bar.text, _shown(bar), bar.bar, _verdict(bar))
    console.print(table)
    events, inference = report.events, report.inference
    console.print(
        f"{events.produced:,} events produced, {events.stored_unique:,} stored once each, "
        f"{events.duplicates_dropped:,} repeats dropped; {inference.count:,} decisions, "
        f"half within {inference.p50_us:.0f} µs, 99 % within {inference.p99_us:.0f} µs"
    )
    console.print(f"report: {page}", soft_wrap=True)


def _shown(bar: Bar) -> str:
    if bar.value is None:
        return "not measured"
    return f"{bar.value:.4g}" if isinstance(bar.value, float) else f"{bar.value}"


def _verdict(bar: Bar) -> Text:
    if bar.met is None:
        return Text("not told", style="yellow")
    return Text("met", style="green") if bar.met else Text("NOT MET", style="bold red")
