"""Plain lines, one for each thing that happened: for logs, pipes and terminals that can't do more."""

from __future__ import annotations

from typing import TextIO

from nervure_simulations.report.model import Report, RoundPart, Sample
from nervure_simulations.scenarios import Scenario

SAMPLE_EVERY_S = 15.0  # a line a second would drown what happens


class LinesDisplay:
    """Writes to a stream, flushing each line.

    Args:
        out: Where to.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._next_sample_s = SAMPLE_EVERY_S

    def start(self, scenario: Scenario) -> None:
        regions = ", ".join(f"{name} ({region.agents} agents)" for name, region in scenario.regions.items())
        self._say(0.0, f"{scenario.name}: {regions}; {scenario.learning.rounds} rounds of {scenario.learning.strategy}")

    def phase(self, at_s: float, text: str) -> None:
        self._say(at_s, text)

    def fault(self, at_s: float, text: str) -> None:
        self._say(at_s, f"FAULT: {text}")

    def round(self, at_s: float, record: RoundPart) -> None:
        self._say(at_s, round_line(record))

    def sample(self, sample: Sample) -> None:
        if sample.at_s < self._next_sample_s:
            return
        self._next_sample_s = sample.at_s + SAMPLE_EVERY_S
        connected = ", ".join(f"{region} {count}" for region, count in sample.connected.items())
        waiting = sample.produced - sample.acknowledged
        self._say(sample.at_s, f"events {sample.produced:,} produced, {waiting:,} waiting; agents: {connected}")

    def finish(self, report: Report | None) -> None:
        if report is None:
            self._out.write("stopped before the end; there is no report\n")

    def _say(self, at_s: float, text: str) -> None:
        self._out.write(f"{at_s:7.1f} s  {text}\n")
        self._out.flush()


def round_line(record: RoundPart) -> str:
    """Say what came of a round in one line."""
    if record.f1 is None:
        return f"round {record.round}: failed: {record.reason}"
    outcome = f"accepted as release {record.release}" if record.accepted else f"not accepted: {record.reason}"
    updates = " + ".join(str(count) for count in record.updates.values())
    return (
        f"round {record.round}: {updates} updates, F1 {record.f1:.4f}, "
        f"false positives {record.fpr or 0.0:.2%} (worst site {record.worst_site_fpr or 0.0:.2%}), {outcome}"
    )
