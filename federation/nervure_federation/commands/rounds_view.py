"""What ``nervure rounds`` shows: a live table on a screen, plain lines elsewhere, single changes for machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nervure_hub.commands.tables import printable, size, table

COLUMNS = ("round", "phase", "F1", "accuracy", "FPR", "worst site FPR", "regions", "agents", "up/agent", "verdict")

ENDED = ("finished", "failed")
"""States after which a run doesn't change."""

NUMBERS = ("round", "F1", "accuracy", "FPR", "worst site FPR", "regions", "agents", "up/agent")


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
    """Yield what changed between two looks at a run, one mapping a change; that it ended comes last."""
    states: list[dict[str, Any]] = []
    if run.get("state") != before.get("state"):
        states.append(
            {"event": "run", "run_id": run["run_id"], "state": run["state"], "message": run.get("message", "")}
        )
    ended = run.get("state") in ENDED
    if not ended:
        yield from states
    known = {row["round"]: row["phase"] for row in _rows(before)}
    for row in _rows(run):
        if known.get(row["round"]) != row["phase"]:
            yield {"event": "round", "run_id": run["run_id"], **row}
    if ended:
        yield from states


def _rows(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    baseline = run.get("baseline")
    return [*([baseline] if baseline else []), *run.get("rounds", ())]


def runs_text(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of all runs."""
    if not runs:
        return "no runs yet: `nervure rounds start` starts one"
    rows = [
        (
            run["run_id"],
            run["state"],
            run["model"],
            run["strategy"],
            f"{run.get('round', 0)}/{run['rounds_total']}",
            run["rounds_accepted"],
            _rate((run.get("latest") or {}).get("f1")),
            printable(run.get("message", "")),
        )
        for run in runs
    ]
    return table(("run", "state", "model", "strategy", "round", "accepted", "F1", "message"), rows)


def details_text(run: Mapping[str, Any]) -> str:
    """Return a run's table, and below it what agents reach alone and who was refused."""
    parts = [_title(run), table(COLUMNS, list(_cells(run)), numbers=NUMBERS)]
    if local := run.get("local_only"):
        parts.append(
            f"alone, the mean of {local['agents']} agents: F1 {local['f1_mean']:.3f} "
            f"(from {local['f1_min']:.3f} to {local['f1_max']:.3f}), FPR {local['fpr_mean']:.3f}"
        )
    for row in _rows(run):
        parts += [f"round {row['round']}: refused {who['agent']}: {printable(who['reason'])}" for who in row["refused"]]
        parts += [f"round {row['round']}: {printable(absent)}" for absent in row["absent"]]
    return "\n".join(parts)


def details_table(run: Mapping[str, Any]) -> Table:
    """Return the table of a run's rounds for a screen."""
    grid = Table(title=Text(_title(run)), title_justify="left", box=None, pad_edge=False)
    for column in COLUMNS:
        grid.add_column(Text(column), justify="right" if column in NUMBERS else "left")
    for cells in _cells(run):
        # As text: reasons come from agents, and square brackets in them are no markup.
        grid.add_row(*(Text(cell) for cell in cells))
    return grid


def _title(run: Mapping[str, Any]) -> str:
    title = f"{run['run_id']}  {run['model']}  {run['strategy']}  {run['state']}"
    return f"{title}: {printable(run['message'])}" if run.get("message") else title


def _cells(run: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    if initial := run.get("initial"):
        yield ("start", "", *_scores(initial), "", "", "", "")
    for row in run.get("rounds", ()):
        yield (
            str(row["round"]),
            row["phase"],
            *_scores(row),
            str(row["region_updates"]),
            str(row["agents"]),
            size(row["bytes_up_per_agent"]) if row["bytes_up_per_agent"] else "",
            printable(row["reason"]),
        )


def _scores(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return _rate(row["f1"]), _rate(row["accuracy"]), _rate(row["fpr"]), _rate(row["worst_site_fpr"])


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _line(change: Mapping[str, Any]) -> str:
    if change["event"] == "run":
        return f"{change['run_id']} {change['state']} {printable(change['message'])}".rstrip()
    # The judge's words begin with the F1; without a judge there is none, and where a round fails the words are others.
    said = printable(change["reason"])
    if change.get("f1") is not None and not said.startswith("F1 "):
        said = f"F1 {change['f1']:.3f} {said}"
    return f"{change['run_id']} round {change['round']} {change['phase']} {said}".rstrip()
