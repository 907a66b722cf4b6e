"""What every benchmark returns, and how it is shown and kept.

A benchmark is a module of this folder with ``run() -> list[Row]``; its module docstring says what is measured, beside
which peer, and what the bar means. A row without a bar is a reading; a bar that is not met is printed as not met.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

OUT = Path("out/bench")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    ``bar`` is compared by ``direction``: ``<=`` (smaller is better) or ``>=``; None: no bar.
    """

    id: str
    value: float
    unit: str
    peers: dict[str, float] = field(default_factory=dict[str, float])
    bar: float | None = None
    direction: str = ">="
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without one."""
        if self.bar is None:
            return None
        return self.value >= self.bar if self.direction == ">=" else self.value <= self.bar


def machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "cpu": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": "make bench " + " ".join(f"NAME={name}" for name in sys.argv[1:]),
    }


def median_of(runs: int, measure: Callable[[], float]) -> float:
    """Return the median of ``runs`` calls of ``measure``."""
    return statistics.median(measure() for _ in range(runs))


def show(rows: list[Row]) -> str:
    """Return the rows as a table for people."""
    head = ("id", "value", "unit", "bar", "met", "peers")
    lines = [head]
    for row in rows:
        bar = "" if row.bar is None else f"{row.direction} {row.bar:g}"
        met = {None: "", True: "yes", False: "NO"}[row.met]
        peers = ", ".join(f"{name} {value:.4g}" for name, value in row.peers.items())
        lines.append((row.id, f"{row.value:.4g}", row.unit, bar, met, peers + (f"  ({row.note})" if row.note else "")))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def keep(name: str, rows: list[Row]) -> Path:
    """Write ``out/bench/NAME.json`` and return its path."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json"
    body = {"machine": machine(), "rows": [{**asdict(row), "met": row.met} for row in rows]}
    path.write_text(json.dumps(body, indent=1) + "\n")
    return path
