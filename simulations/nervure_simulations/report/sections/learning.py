"""How detection grew from round to round: overall, in each region, and at the worst site."""

from __future__ import annotations

from collections.abc import Callable

from nervure_simulations.report.charts import Frame, Line, Markup, Shade, heat_chart, line_chart, tag
from nervure_simulations.report.charts.frame import Mark, percent
from nervure_simulations.report.charts.lanes import lane_height
from nervure_simulations.report.model import Report, Score
from nervure_simulations.report.sections.parts import panel, region_colours, section


def learning_section(report: Report) -> Markup | None:
    """Return the charts over rounds; round 0 is the starting model."""
    if not _judged(report):
        return None
    accepted = sum(1 for one in report.rounds if one.accepted)
    note = (
        "Every candidate is judged on traffic that no agent trained on, before anybody runs it. "
        f"{accepted} of {len(report.rounds)} candidates were accepted; a hollow point is one that was not."
    )
    return section(
        "Learning together",
        note,
        tag(
            "div",
            panel(
                "F1, round by round",
                "Dashed: what sites reach when each learns alone, for the same number of steps.",
                _quality(report, "F1", lambda one: one.f1),
            ),
            panel(
                "Accuracy, round by round",
                "The same candidates.",
                _quality(report, "accuracy", lambda one: one.accuracy),
            ),
            panel(
                "False positives, round by round",
                "Share of benign flows that the candidate would have reported, overall and by region.",
                _false_positives(report),
            ),
            panel(
                "The worst site",
                "The site where the candidate raises the most false alarms: a good mean must not hide it.",
                _worst_site(report),
            ),
            class_="grid",
        ),
        _by_site(report),
        anchor="learning",
    )


def _judged(report: Report) -> list[tuple[int, Score]]:
    """Return the rounds that came to a candidate, with what the judge found of it."""
    return [
        (one.round, Score(accuracy=one.accuracy, f1=one.f1, fpr=one.fpr))
        for one in report.rounds
        if one.accuracy is not None and one.f1 is not None and one.fpr is not None
    ]


def _over_rounds(report: Report, pick: Callable[[Score], float]) -> list[Line]:
    hollow = frozenset(float(one.round) for one in report.rounds if not one.accepted)
    lines: list[Line] = []
    for region, colour in region_colours(report).items():
        points = [(float(one.round), pick(one.regions[region])) for one in report.rounds if region in one.regions]
        lines.append(Line(region, points, colour))
    start = (0.0, pick(report.detection.initial))
    overall = [start, *((float(number), pick(score)) for number, score in _judged(report))]
    lines.append(Line("all sites", overall, "var(--ink)", strong=True, hollow=hollow))
    return lines


def _quality(report: Report, name: str, pick: Callable[[Score], float]) -> Markup:
    lines = _over_rounds(report, pick)
    last = float(report.rounds[-1].round)
    if report.detection.local_only is not None:
        alone = pick(report.detection.local_only)
        lines.append(Line("each site alone", [(0.0, alone), (last, alone)], "var(--warn)", dash=True, dots=False))
    values = [y for line in lines for _, y in line.points]
    low = max(0.0, min(values) - 0.05)
    low = low - low % 0.05
    return line_chart(
        Frame(
            title=f"{name} on held-out traffic over the rounds, overall and by region",
            x=(0.0, last),
            y=(low, 1.0),
            x_label="round",
            y_label=name,
            marks=_fault_rounds(report),
        ),
        lines,
    )


def _false_positives(report: Report) -> Markup:
    lines = _over_rounds(report, lambda one: one.fpr)
    highest = max((y for line in lines for _, y in line.points), default=0.0)
    return line_chart(
        Frame(
            title="False positive rate on held-out traffic over the rounds, overall and by region",
            x=(0.0, float(report.rounds[-1].round)),
            y=(0.0, max(highest * 1.15, 0.01)),
            x_label="round",
            y_label="false positives",
            y_format=percent,
            marks=_fault_rounds(report),
        ),
        lines,
    )


def _worst_site(report: Report) -> Markup:
    points = [(float(one.round), one.worst_site_fpr) for one in report.rounds if one.worst_site_fpr is not None]
    highest = max(y for _, y in points)
    chart = line_chart(
        Frame(
            title="False positive rate of the worst site over the rounds",
            x=(0.0, float(report.rounds[-1].round)),
            y=(0.0, max(highest * 1.15, 0.01)),
            x_label="round",
            y_label="false positives",
            y_format=percent,
            marks=_fault_rounds(report),
        ),
        [
            Line("worst site", points, "var(--fault)", strong=True),
            Line("all sites", [(float(number), score.fpr) for number, score in _judged(report)], "var(--ink)"),
        ],
    )
    last = report.rounds[-1]
    named = f"In the last round: {last.worst_site}." if last.worst_site else ""
    return Markup(chart + (tag("p", named, class_="note") if named else ""))


def _by_site(report: Report) -> Markup | None:
    """Draw every site over the rounds: where attacks are found, and where false alarms are raised."""
    names = sorted({name for one in report.rounds for name in one.sites}, key=_by_region(report))
    if not names:
        return None
    columns = [float(one.round) for one in report.rounds]
    found = [(name, [one.sites[name].f1 if name in one.sites else None for one in report.rounds]) for name in names]
    alarms = [(name, [one.sites[name].fpr if name in one.sites else None for one in report.rounds]) for name in names]
    highest = max((value for _, row in alarms for value in row if value is not None), default=0.0)

    def frame(title: str) -> Frame:
        return Frame(
            title=title,
            x=(columns[0] - 0.5, columns[-1] + 0.5),
            y=(0.0, float(len(names))),
            x_label="round",
            x_ticks=10,
            y_ticks=0,
            height=lane_height(len(names), 15.0),
            left=150.0,
        )

    f1 = Shade(0.5, 1.0, "var(--leaf)", lambda value: f"F1 {value:.3f}", "F1 0.5 or less", "1")
    fpr = Shade(0.0, max(highest, 0.01), "var(--fault)", percent, "none", percent(round(max(highest, 0.01), 3)))
    return tag(
        "div",
        panel("F1, site by site", "", heat_chart(frame("F1 of every site over the rounds"), found, columns, f1)),
        panel(
            "False alarms, site by site",
            "",
            heat_chart(frame("False positive rate of every site over the rounds"), alarms, columns, fpr),
        ),
        class_="grid",
        style="margin-top:18px",
    )


def _by_region(report: Report) -> Callable[[str], tuple[int, str]]:
    order = {region: index for index, region in enumerate(report.regions)}
    return lambda name: (order.get(name.partition("/")[0], len(order)), name)


def _fault_rounds(report: Report) -> list[Mark]:
    """Place each fault between the rounds it fell between."""
    marks: list[Mark] = []
    for fault in report.faults:
        before = [one.round for one in report.rounds if one.ended_at_s is not None and one.ended_at_s <= fault.at_s]
        if before:
            marks.append(Mark(at=max(before) + 0.5, label=f"{fault.region} hub killed"))
    return marks
