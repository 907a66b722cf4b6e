"""One JSON object a line, for programs that watch a run: ``{"event": "round", "at_s": 61.2, ...}``."""

from __future__ import annotations

import json
from typing import Any, TextIO

from nervure_simulations.report.model import Report, RoundPart, Sample
from nervure_simulations.scenarios import Scenario


class JsonDisplay:
    """Writes to a stream, flushing each line.

    Args:
        out: Where to.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def start(self, scenario: Scenario) -> None:
        self._say("start", 0.0, scenario=scenario.model_dump(mode="json"))

    def phase(self, at_s: float, text: str) -> None:
        self._say("phase", at_s, text=text)

    def fault(self, at_s: float, text: str) -> None:
        self._say("fault", at_s, text=text)

    def round(self, at_s: float, record: RoundPart) -> None:
        self._say("round", at_s, **record.model_dump(mode="json"))

    def sample(self, sample: Sample) -> None:
        self._say("sample", **sample.model_dump(mode="json"))

    def finish(self, report: Report | None) -> None:
        if report is not None:
            leave_out = {"timeline", "agents"}  # long, and in report.json
            self._say("report", report.duration_s, **report.model_dump(mode="json", exclude=leave_out))

    def _say(self, event: str, at_s: float, **more: Any) -> None:
        self._out.write(json.dumps({"event": event, "at_s": round(at_s, 3), **more}, ensure_ascii=False) + "\n")
        self._out.flush()
