"""The fleet's models over time, and how long a decision takes."""

from __future__ import annotations

from collections.abc import Sequence

from nervure_simulations.report.charts import Frame, Lane, Markup, Span, histogram_chart, lane_chart, tag
from nervure_simulations.report.charts.frame import Mark
from nervure_simulations.report.charts.lanes import lane_height
from nervure_simulations.report.model import AgentHistory, Report
from nervure_simulations.report.sections.parts import fault_marks, micros, panel, section

LANES = 60


def fleet_section(report: Report) -> Markup | None:
    """Return the lanes of model versions and the distribution of latencies."""
    panels = [part for part in (_versions(report), _latency(report)) if part is not None]
    if not panels:
        return None
    return section(
        "Models and decisions",
        "An accepted round gives new weights to every agent; each swaps between two flows, without dropping one.",
        tag("div", *panels, class_="grid one"),
        anchor="fleet",
    )


def _versions(report: Report) -> Markup | None:
    agents = [agent for agent in report.agents if agent.releases][:LANES]
    if not agents:
        return None
    releases = sorted({release for agent in agents for _, release in agent.releases})
    colours = {release: _shade(index, len(releases)) for index, release in enumerate(releases)}
    row = 13.0 if len(agents) <= 36 else 8.0
    frame = Frame(
        title="The release that each agent runs, over time",
        x=(0.0, report.duration_s),
        y=(0.0, float(len(agents))),
        x_label="seconds since the start",
        y_ticks=0,
        x_ticks=10,
        marks=fault_marks(report),
        width=1120.0,
        height=lane_height(len(agents), row),
        left=132.0,
    )
    lanes = [Lane(agent.agent, _release_spans(agent, report.duration_s, colours)) for agent in agents]
    keys = [(f"release {release}", colour, "area") for release, colour in colours.items()]
    return panel(
        "The release that each agent runs",
        "One row an agent, grouped by home region; deeper green is newer.",
        lane_chart(frame, lanes, keys, label_every=1 if row > 10 else 3),
    )


def _shade(index: int, count: int) -> str:
    """Return a colour from pale to deep: the order of releases is the order of shades."""
    depth = 18 + round(82 * (index / max(count - 1, 1)))
    return f"color-mix(in oklab, var(--leaf) {depth}%, var(--panel))"


def _release_spans(agent: AgentHistory, end_s: float, colours: dict[int, str]) -> Sequence[Span]:
    ends = [since for since, _ in agent.releases[1:]] + [end_s]
    return [
        Span(since, until, f"release {release}", colours[release])
        for (since, release), until in zip(agent.releases, ends, strict=True)
    ]


def _alone(report: Report) -> str:
    p50, p99 = report.inference.processes_p50_us, report.inference.processes_p99_us
    if p50 is None or p99 is None:
        return ""
    return f" In agents with a process of their own: half within {micros(p50)}, 99 % within {micros(p99)}."


def _latency(report: Report) -> Markup | None:
    edges = report.inference.histogram
    if not edges:
        return None
    # A bucket starts where the one before it ends; an empty one in between shows as a gap of its own width.
    widest = 2 ** (1 / 8)
    buckets = [(upper / widest, upper, count) for upper, count in edges]
    frame = Frame(
        title="Distribution of decision latency",
        x=(buckets[0][0] / 1.2, buckets[-1][1] * 1.2),
        y=(0.0, max(count for _, _, count in buckets) * 1.15),
        x_label="features in to label out (logarithmic)",
        y_label="decisions",
        x_log=True,
        x_format=micros,
        marks=(
            Mark(report.inference.p50_us, f"half within {micros(report.inference.p50_us)}", colour="var(--leaf)"),
            Mark(report.inference.p99_us, f"99 % within {micros(report.inference.p99_us)}", colour="var(--warn)"),
        ),
        width=1120.0,
        height=260.0,
    )
    return panel(
        "How long a decision takes",
        f"{report.inference.count:,} decisions of all agents, on a machine that also runs everything else on this page."
        + _alone(report),
        histogram_chart(frame, buckets, colour="var(--r0)"),
    )
