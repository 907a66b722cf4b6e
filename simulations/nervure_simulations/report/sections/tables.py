"""The numbers behind the charts, as tables, and what is needed to run it again."""

from __future__ import annotations

from nervure_simulations.report.charts import Markup, tag
from nervure_simulations.report.model import Report
from nervure_simulations.report.sections.parts import mib, pairs, panel, score, seconds, section, share, table


def rounds_section(report: Report) -> Markup | None:
    """Return one row a round, for people and for screen readers."""
    if not report.rounds:
        return None
    rows = [
        (
            one.round,
            ", ".join(f"{region} {count}" for region, count in one.updates.items()),
            score(one.f1),
            score(one.accuracy),
            share(one.fpr, 2),
            share(one.worst_site_fpr, 2),
            f"{one.bytes_up_per_agent / 1024:.1f} KiB",
            seconds(one.ended_at_s - one.started_at_s)
            if one.ended_at_s is not None and one.started_at_s is not None
            else "not measured",
            tag("span", f"release {one.release}", class_="pill yes")
            if one.accepted
            else tag("span", one.reason or "not accepted", class_="pill no"),
        )
        for one in report.rounds
    ]
    head = ("Round", "Updates joined", "F1", "Accuracy", "False pos.", "Worst site", "Up per agent", "Took", "Outcome")
    content = panel("", "", table("", head, rows, numbers=(2, 3, 4, 5, 6, 7)))
    return section("The rounds in numbers", "", content, anchor="rounds")


def environment_section(report: Report) -> Markup:
    """Return regions, settings and the machine."""
    environment = report.environment
    regions = table(
        "",
        ("Region", "Agents", "Gateways", "Hub's memory", "Sites"),
        [
            (
                name,
                region.agents,
                region.gateways,
                mib(report.resources.hubs_rss_mib.get(name)),
                ", ".join(region.sites),
            )
            for name, region in report.regions.items()
        ],
        numbers=(1, 2, 3),
    )
    ran = {
        "Command": tag("code", environment.command),
        "Started": environment.started_at,
        "Seed": environment.seed,
        "Machine": f"{environment.machine}, {environment.cpus} cores, {environment.memory_mib / 1024:.0f} GiB",
        "Python": environment.python,
        "Coordination": environment.coordination,
        "Replay": environment.replay_pace,
        "Versions": ", ".join(f"{name} {version}" for name, version in environment.versions.items()),
    }
    settings = {name.replace("_", " "): value for name, value in report.learning.items()}
    return section(
        "How it was run",
        "",
        tag(
            "div",
            panel("Environment", "", pairs(ran)),
            panel("Rounds", "", pairs(settings)),
            class_="grid",
        ),
        tag("div", panel("Regions", "", regions), class_="grid one", style="margin-top:18px"),
        anchor="environment",
    )
