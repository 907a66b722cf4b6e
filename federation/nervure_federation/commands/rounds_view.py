"""What ``nervure rounds`` shows: a live table on a screen, plain lines elsewhere, single changes for machines."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

COLUMNS = ("round", "phase", "F1", "accuracy", "FPR", "worst site FPR", "regions", "agents", "up/agent", "verdict")


class Screen:
    """A table that is redrawn in place."""

    def __init__(self) -> None:
        self._live = Live(console=Console(), auto_refresh=False)
        self._live.start()

    def show(self, run: Mapping[str, Any]) -> None:
        """Draw the run as it is now."""
        self._live.update(details_table(run), refresh=True)

    def close(self) -> None:
        """Leave the last drawing where it is."""
        self._live.stop()


class Lines:
    """One line a change, for logs and pipes."""

    def __init__(self) -> None:
        self._before: Mapping[str, Any] = {}

    def show(self, run: Mapping[str, Any]) -> None:
        """Print what changed since the last time."""
        for change in changes_of(self._before, run):
            click.echo(_line(change))
        self._before = run

    def close(self) -> None:
        """Do nothing: lines stay."""


def changes_of(before: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what changed between two looks at a run, one mapping a change."""
    if run.get("state") != before.get("state"):
        yield {"event": "run", "run_id": run["run_id"], "state": run["state"], "message": run.get("message", "")}
    known = {row["round"]: row["phase"] for row in _rows(before)}
    for row in _rows(run):
        if known.get(row["round"]) != row["phase"]:
            yield {"event": "round", "run_id": run["run_id"], **row}


def _rows(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    baseline = run.get("baseline")
    return [*([baseline] if baseline else []), *run.get("rounds", ())]


def runs_text(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of all runs."""
    if not runs:
        return "no runs yet: `nervure rounds start` starts one"
    table = Table("run", "state", "model", "strategy", "round", "accepted", "F1", "message", box=None, pad_edge=False)
    for run in runs:
        latest = run.get("latest") or {}
        table.add_row(
            run["run_id"],
            run["state"],
            run["model"],
            run["strategy"],
            f"{run.get('round', 0)}/{run['rounds_total']}",
            str(run["rounds_accepted"]),
            _rate(latest.get("f1")),
            run.get("message", ""),
        )
    return _text(table)


def details_text(run: Mapping[str, Any]) -> str:
    """Return a run's table, and below it what agents reach alone and who was refused."""
    parts = [_text(details_table(run))]
    if local := run.get("local_only"):
        parts.append(
            f"alone, the mean of {local['agents']} agents: F1 {local['f1_mean']:.3f} "
            f"(from {local['f1_min']:.3f} to {local['f1_max']:.3f}), FPR {local['fpr_mean']:.3f}"
        )
    for row in _rows(run):
        parts += [f"round {row['round']}: refused {who['agent']}: {who['reason']}" for who in row["refused"]]
        parts += [f"round {row['round']}: {absent}" for absent in row["absent"]]
    return "\n".join(parts)


def details_table(run: Mapping[str, Any]) -> Table:
    """Return the table of a run's rounds."""
    title = f"{run['run_id']}  {run['model']}  {run['strategy']}  {run['state']}"
    if run.get("message"):
        title += f": {run['message']}"
    table = Table(*COLUMNS, title=title, title_justify="left", box=None, pad_edge=False)
    initial = run.get("initial")
    if initial:
        table.add_row("start", "", *_scores(initial), "", "", "", "")
    for row in run.get("rounds", ()):
        table.add_row(
            str(row["round"]),
            row["phase"],
            *_scores(row),
            str(row["region_updates"]),
            str(row["agents"]),
            _bytes(row["bytes_up_per_agent"]),
            row["reason"],
        )
    return table


def _scores(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return _rate(row["f1"]), _rate(row["accuracy"]), _rate(row["fpr"]), _rate(row["worst_site_fpr"])


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _bytes(count: float) -> str:
    return f"{count / 1024:.1f} KiB" if count else ""


def _line(change: Mapping[str, Any]) -> str:
    if change["event"] == "run":
        return f"{change['run_id']} {change['state']} {change['message']}".rstrip()
    scores = f" F1 {change['f1']:.3f}" if change.get("f1") is not None else ""
    return f"{change['run_id']} round {change['round']} {change['phase']}{scores} {change['reason']}".rstrip()


def _text(table: Table) -> str:
    sink = io.StringIO()
    # Wide on purpose: whoever pipes this wants whole lines, and a terminal wraps by itself.
    Console(file=sink, width=200, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in sink.getvalue().splitlines())
