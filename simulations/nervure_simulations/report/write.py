"""Write the two files of a report, each whole or not at all."""

from __future__ import annotations

from pathlib import Path

from nervure_core.files import write_atomic
from nervure_simulations.report.model import Report
from nervure_simulations.report.page import render_page


def write_report(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write ``report.json`` and ``report.html``; return their paths.

    Raises:
        OSError: The folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data, page = folder / "report.json", folder / "report.html"
    write_atomic(data, (report.model_dump_json(indent=2) + "\n").encode())
    write_atomic(page, render_page(report).encode())
    for path in (data, page):
        path.chmod(0o644)  # a report is for showing: not private as a temporary file is
    return data, page
