"""What a run leaves behind: ``report.json`` for programs and ``report.html``, one self-contained file, for people.

Every number in a report was counted where it happened: by the agents, the hubs' gateways, the event lake, the judge,
the kernel. Nothing is derived from what ought to be true, so a report can show that something went wrong.

>>> write_report(report, Path("out/demo"))  # doctest: +SKIP
"""

from nervure_simulations.report.model import SCHEMA_VERSION, Report
from nervure_simulations.report.page import render_page
from nervure_simulations.report.write import write_report

__all__ = ["SCHEMA_VERSION", "Report", "render_page", "write_report"]
