"""What came out, in a few numbers, and which promises were kept."""

from __future__ import annotations

from nervure_simulations.report.charts import Markup, tag
from nervure_simulations.report.charts.svg import join
from nervure_simulations.report.model import InferencePart, Report
from nervure_simulations.report.sections.parts import mib, micros, panel, score, seconds, section, share, table


def summary_section(report: Report) -> Markup:
    """Return the cards under the title."""
    return tag("ul", *_cards(report), class_="cards")


def _cards(report: Report) -> list[Markup]:
    detection, events, inference, models = report.detection, report.events, report.inference, report.models
    better = detection.final.f1 > detection.initial.f1
    cards = [
        _card(
            "Detection, F1 on unseen traffic",
            score(detection.final.f1),
            f"{score(detection.initial.f1)} before learning together",
            good=better,
        ),
        _card(
            "False positives",
            share(detection.final.fpr, 2),
            f"{share(detection.initial.fpr, 2)} before; of benign flows nobody trained on",
            good=None,
        ),
        _card(
            "Events lost",
            f"{events.lost:,}",
            f"of {events.produced:,} produced; {events.stored_unique:,} stored, each once",
            good=events.lost == 0,
        ),
    ]
    cards += [
        _card(
            f"Moved when {fault.region} died",
            join(f"{fault.rehomed}", tag("small", f" of {fault.agents}")),
            f"95 % within {seconds(fault.rehome_p95_s)}"
            if fault.rehome_p95_s is not None
            else "none was seen elsewhere",
            good=fault.rehomed == fault.agents,
        )
        for fault in report.faults
    ]
    cards += [
        _card(
            f"On the latest model, release {models.latest}",
            join(f"{models.agents_on_latest}", tag("small", f" of {models.agents}")),
            f"{sum(1 for one in report.rounds if one.accepted)} of {len(report.rounds)} rounds accepted",
            good=models.agents_on_latest == models.agents,
        ),
        _decision_card(inference),
        _card(
            "Memory of an agent process",
            mib(report.resources.agent_rss_mib),
            f"a whole hub: {mib(report.resources.hub_rss_mib)}",
            good=None,
        ),
        _card(
            "From command to this page",
            seconds(report.duration_s),
            f"{sum(region.agents for region in report.regions.values())} agents in {len(report.regions)} "
            f"region{'s' if len(report.regions) != 1 else ''}",
            good=None,
        ),
    ]
    return cards


def _decision_card(inference: InferencePart) -> Markup:
    """Show what a device would see: an agent that shares its process with nobody, where there is one."""
    p50, p99 = inference.processes_p50_us, inference.processes_p99_us
    where = " in a process of its own"
    if p50 is None or p99 is None:
        p50, p99, where = inference.p50_us, inference.p99_us, ""
    more = f"99 % within {micros(p99)}{where}; {inference.count:,} decisions in all"
    return _card("Decision, features in to label out", micros(p50), more, good=None)


def _card(what: str, value: str | Markup, more: str, *, good: bool | None) -> Markup:
    mood = {True: "card good", False: "card bad", None: "card"}[good]
    return tag(
        "li",
        tag("div", what, class_="what"),
        tag("div", value, class_="value"),
        tag("div", more, class_="more"),
        class_=mood,
    )


def bars_section(report: Report) -> Markup | None:
    """Return the table of what was promised and what was measured."""
    if not report.bars:
        return None
    verdicts = {
        True: tag("span", "met", class_="pill yes"),
        False: tag("span", "not met", class_="pill no"),
        None: tag("span", "not told", class_="pill unknown"),
    }
    rows = [(bar.text, _shown(bar.value), bar.bar, verdicts[bar.met]) for bar in report.bars]
    content = panel("", "", table("", ("Promise", "Measured", "Bar", ""), rows, numbers=(1, 2)))
    return section("Promises", "What this scenario has to show, and what it showed.", content, anchor="bars")


def _shown(value: float | str | None) -> str:
    if value is None:
        return "not measured"
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) or value >= 1000 else f"{value:.4g}"
