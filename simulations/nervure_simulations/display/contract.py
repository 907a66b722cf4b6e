"""What a display is told."""

from __future__ import annotations

from typing import Literal, Protocol

from nervure_simulations.report.model import Report, RoundPart, Sample
from nervure_simulations.scenarios import Scenario

Kind = Literal["live", "lines", "json"]


class Display(Protocol):
    """Shows a run as it goes; every method returns at once and never raises for what it shows."""

    def start(self, scenario: Scenario) -> None:
        """A run begins."""
        ...

    def phase(self, at_s: float, text: str) -> None:
        """Something was reached, ``at_s`` seconds after the start."""
        ...

    def fault(self, at_s: float, text: str) -> None:
        """Something was broken on purpose."""
        ...

    def round(self, at_s: float, record: RoundPart) -> None:
        """A round ended."""
        ...

    def sample(self, sample: Sample) -> None:
        """The fleet as it is now; comes about once a second."""
        ...

    def finish(self, report: Report | None) -> None:
        """The run ended; None where it did not get as far as a report."""
        ...
