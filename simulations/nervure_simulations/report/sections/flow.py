"""Events over time: produced, acknowledged as durable, and what waited in spools meanwhile."""

from __future__ import annotations

from nervure_simulations.report.charts import Band, Frame, Line, Markup, band_chart, line_chart, tag
from nervure_simulations.report.model import Report
from nervure_simulations.report.sections.parts import fault_marks, panel, section


def flow_section(report: Report) -> Markup | None:
    """Return the charts of the event flow."""
    if len(report.timeline) < 2:
        return None
    events = report.events
    note = (
        f"{events.produced:,} events were produced and {events.stored_unique:,} are stored, each counted once by agent, stream "
        f"and sequence. {events.duplicates_dropped:,} arrived again after a reconnect and were dropped; {events.lost:,} were lost."
    )
    return section(
        "Events",
        note,
        tag(
            "div",
            panel("Produced and acknowledged", "Summed over all agents, as each counts its own.", _cumulative(report)),
            panel("Waiting in spools", "Produced, but not yet acknowledged as durable by a hub.", _waiting(report)),
            class_="grid",
        ),
        anchor="events",
    )


def _cumulative(report: Report) -> Markup:
    samples = report.timeline
    return line_chart(
        Frame(
            title="Events produced and acknowledged over time",
            x=(0.0, report.duration_s),
            y=(0.0, max(max(sample.produced for sample in samples), 1) * 1.08),
            x_label="seconds since the start",
            y_label="events",
            marks=fault_marks(report),
        ),
        [
            Line("produced", [(one.at_s, one.produced) for one in samples], "var(--r3)", strong=True, dots=False),
            Line("acknowledged", [(one.at_s, one.acknowledged) for one in samples], "var(--leaf)", dots=False),
        ],
    )


def _waiting(report: Report) -> Markup:
    samples = report.timeline
    waiting = [float(max(one.produced - one.acknowledged, 0)) for one in samples]
    return band_chart(
        Frame(
            title="Events waiting in spools over time",
            x=(0.0, report.duration_s),
            y=(0.0, max(*waiting, 10.0) * 1.1),
            x_label="seconds since the start",
            y_label="events",
            marks=fault_marks(report),
        ),
        [one.at_s for one in samples],
        [Band("waiting", waiting, "var(--r1)")],
        step=False,
    )
