"""The page: one HTML file that needs nothing else, shows well in light and dark, and runs no script.

The content security policy in its head forbids every request and every script, so a browser itself vouches that the
file is self-contained.
"""

from __future__ import annotations

from importlib import resources

from nervure_simulations.report import sections
from nervure_simulations.report.charts.svg import Markup, join, tag
from nervure_simulations.report.model import Report
from nervure_simulations.report.sections.parts import seconds

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

LEAF = Markup(
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" '
    'aria-hidden="true"><path d="M12 22V6"/><path d="M12 22C4 19 3 10 12 2c9 8 8 17 0 20Z"/>'
    '<path d="M12 17l-4-3.4M12 17l4-3.4M12 12.5 8.7 9.6M12 12.5l3.3-2.9"/></svg>'
)


def render_page(report: Report) -> str:
    """Return the whole page as HTML text."""
    style = (resources.files("nervure_simulations.report") / "style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content="nervure simulate"),
        tag("title", f"{report.scenario}: {report.title}" if report.title else report.scenario),
        tag("style", Markup(style)),
    )
    body = tag(
        "body",
        _top(report),
        tag(
            "main",
            sections.summary_section(report),
            sections.bars_section(report),
            sections.learning_section(report),
            sections.recovery_section(report),
            sections.flow_section(report),
            sections.fleet_section(report),
            sections.rounds_section(report),
            sections.environment_section(report),
        ),
        tag(
            "footer",
            tag(
                "p",
                "Counted where it happens: events and decisions by the agents, what is stored by a query over every "
                "region's lake and journal, duplicates by the gateways, memory by the kernel, detection by the judge "
                "on held-out traffic. The same numbers for programs: ",
                tag("code", "report.json"),
                f" (schema version {report.schema_version}).",
            ),
        ),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _top(report: Report) -> Markup:
    missed = [bar for bar in report.bars if bar.met is False]
    untold = [bar for bar in report.bars if bar.met is None]
    if not report.bars:
        verdict = None
    elif missed:
        verdict = tag("p", f"{len(missed)} of {len(report.bars)} promises not kept", class_="verdict bad")
    else:
        kept = f"All {len(report.bars) - len(untold)} promises kept"
        verdict = tag("p", kept + (f", {len(untold)} could not be told" if untold else ""), class_="verdict good")
    facts = [
        f"Scenario {report.scenario}",
        f"{report.learning.get('strategy', '')}, {len(report.rounds)} rounds".lstrip(", "),
        f"seed {report.environment.seed}",
        report.environment.started_at,
        f"ran {seconds(report.duration_s)}",
    ]
    return tag(
        "header",
        tag("div", LEAF, tag("span", "Nervure"), class_="brand"),
        tag("h1", report.title or report.scenario),
        tag("div", *(tag("span", fact) for fact in facts), class_="facts"),
        join(verdict) if verdict is not None else None,
        class_="top",
    )
