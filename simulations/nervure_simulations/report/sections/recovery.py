"""The fault and the recovery: where agents had their sessions, and that they went on deciding."""

from __future__ import annotations

from collections.abc import Sequence

from nervure_simulations.report.charts import Band, Frame, Lane, Markup, Span, band_chart, lane_chart, tag
from nervure_simulations.report.charts.lanes import lane_height
from nervure_simulations.report.model import AgentHistory, FaultPart, Report
from nervure_simulations.report.sections.parts import fault_marks, panel, region_colours, seconds, section

LANES = 24  # more would be too thin to read


def recovery_section(report: Report) -> Markup | None:
    """Return the charts round each fault; None where nothing was sampled."""
    if len(report.timeline) < 2:
        return None
    title = "The fault and the recovery" if report.faults else "Sessions"
    panels = [
        panel("Agents connected, by the region of their hub", "Counted by the agents themselves.", _connected(report)),
        panel("What happened", "", _story(report)),
    ]
    below = [_moves(report, fault) for fault in report.faults]
    return section(
        title,
        " ".join(_in_words(report, fault) for fault in report.faults),
        tag("div", *panels, class_="grid"),
        tag("div", *below, class_="grid one", style="margin-top:18px") if below else None,
        anchor="recovery",
    )


def _in_words(report: Report, fault: FaultPart) -> str:
    during = report.inference.during_outage
    went_on = f" While they had no session they made {during:,} decisions." if during is not None else ""
    return (
        f"{seconds(fault.at_s)} into the run every process of the {fault.region} hub "
        f"({fault.killed_processes} of them) was killed at once with SIGKILL. "
        f"Of its {fault.agents} agents {fault.rehomed} moved to another region, half of them within "
        f"{seconds(fault.rehome_p50_s)} and 95 % within {seconds(fault.rehome_p95_s)} of the kill.{went_on}"
    )


def _connected(report: Report) -> Markup:
    samples = report.timeline
    total = sum(region.agents for region in report.regions.values())
    return band_chart(
        Frame(
            title="Connected agents over time by region",
            x=(0.0, report.duration_s),
            y=(0.0, total * 1.12),
            x_label="seconds since the start",
            y_label="agents",
            marks=fault_marks(report),
        ),
        [one.at_s for one in samples],
        [
            Band(region, [float(one.connected.get(region, 0)) for one in samples], colour)
            for region, colour in region_colours(report).items()
        ],
    )


def _story(report: Report) -> Markup:
    rows = [
        tag(
            "li",
            tag("time", f"{mark.at_s:.1f} s"),
            tag("span", mark.text),
            class_="fault" if mark.kind == "fault" else None,
        )
        for mark in report.marks
    ]
    return tag("ol", *rows, class_="story")


def _moves(report: Report, fault: FaultPart) -> Markup:
    """Draw the sessions of the agents that lost their hub, from shortly before until a while after."""
    moved = [agent for agent in report.agents if _region_at(agent, fault.at_s) == fault.region][:LANES]
    back = fault.last_rehomed_at_s or min(fault.at_s + 20.0, report.duration_s)
    window = (max(0.0, fault.at_s - 5.0), min(report.duration_s, back + 8.0))
    colours = region_colours(report)
    lanes = [Lane(agent.agent, _session_spans(agent, window, colours)) for agent in moved]
    frame = Frame(
        title=f"Sessions of the agents of {fault.region} around the kill",
        x=window,
        y=(0.0, float(max(len(lanes), 1))),
        x_label="seconds since the start",
        y_ticks=0,
        marks=fault_marks(report),
        width=1120.0,
        height=lane_height(len(lanes), 17.0),
        left=132.0,
    )
    keys = [*((region, colour, "area") for region, colour in colours.items()), ("no session", "", "gap")]
    return panel(
        f"Every agent of {fault.region}, from its dead hub to a live one",
        "One row an agent; the dashed gap is the time without a session, when it decides and spools.",
        lane_chart(frame, lanes, keys),
    )


def _region_at(agent: AgentHistory, at_s: float) -> str:
    held = [region for since, region in agent.sessions if since <= at_s]
    if not held:
        return ""
    # At the very moment of the kill the agent may have noticed already: then the session before it counts.
    return held[-1] or (held[-2] if len(held) > 1 else "")


def _session_spans(agent: AgentHistory, window: tuple[float, float], colours: dict[str, str]) -> Sequence[Span]:
    spans: list[Span] = []
    ends = [since for since, _ in agent.sessions[1:]] + [window[1]]
    for (since, region), until in zip(agent.sessions, ends, strict=True):
        start, end = max(since, window[0]), min(until, window[1])
        if start < end:
            spans.append(
                Span(start, end, f"connected to {region}" if region else "no session", colours.get(region, ""))
            )
    return spans
