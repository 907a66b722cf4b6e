"""Choose a display for a stream."""

from __future__ import annotations

from typing import TextIO

from nervure_simulations.display.contract import Display, Kind
from nervure_simulations.display.json_lines import JsonDisplay
from nervure_simulations.display.lines import LinesDisplay


def open_display(kind: Kind, out: TextIO) -> Display:
    """Return the display asked for; ``live`` needs a terminal and becomes ``lines`` elsewhere."""
    if kind == "json":
        return JsonDisplay(out)
    if kind == "live" and out.isatty():
        from nervure_simulations.display.live import LiveDisplay  # rich costs 0.1 s, which pipes need not pay

        return LiveDisplay(out)
    return LinesDisplay(out)
