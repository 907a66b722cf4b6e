"""Tables for people. What comes from devices is shown as text: no markup, no control characters."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

_WIDE = 10_000
"""A pipe gets whole lines, however long."""


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: Sequence[str] = ()) -> str:
    """Return a table as text, in colour where the output is a terminal.

    Args:
        columns: Headings.
        rows: Cells; None is shown as nothing.
        numbers: Headings whose column is set to the right.
    """
    from rich import box  # rich costs 60 ms, which only tables need
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(Text(column), justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(_shown(cell)) for cell in row))
    file = io.StringIO()
    width = shutil.get_terminal_size().columns if terminal else _WIDE
    Console(file=file, width=width, force_terminal=terminal, highlight=False).print(grid)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines() if line.strip())


def pairs(rows: Sequence[tuple[str, Any]]) -> str:
    """Return names and values, one a line."""
    wide = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name.ljust(wide)}  {printable(_shown(value))}" for name, value in rows)


def printable(text: str) -> str:
    """Return text without control characters, which could move a terminal's cursor or worse."""
    return "".join(character if character.isprintable() else " " for character in text)


def moment(wall_s: float) -> str:
    """Return a wall clock's seconds as UTC text."""
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def size(number: float) -> str:
    """Return bytes with a unit."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def _shown(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:g}"
    return str(cell)
