"""A live screen: what is going on, the rounds as they come, where agents are, and what was broken."""

from __future__ import annotations

import time
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from nervure_simulations.report.model import Report, RoundPart, Sample
from nervure_simulations.scenarios import Scenario

COLOURS = ("dodger_blue2", "dark_orange", "medium_purple1", "dark_cyan", "deep_pink3", "yellow4")
PHASES_SHOWN = 7
REFRESH_PER_S = 4


class LiveDisplay:
    """Draws on a terminal four times a second.

    Args:
        out: The terminal.
    """

    def __init__(self, out: TextIO) -> None:
        self._console = Console(file=out)
        self._scenario: Scenario | None = None
        self._began_s = time.monotonic()
        self._phases: list[tuple[float, str, str]] = []
        self._rounds: list[RoundPart] = []
        self._sample: Sample | None = None
        self._spinner = Spinner("dots", style="green")
        self._over = False
        # Last: rich draws once while it is made.
        self._live = Live(
            console=self._console, refresh_per_second=REFRESH_PER_S, get_renderable=self._draw, transient=False
        )

    def start(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._began_s = time.monotonic()
        self._live.start()

    def phase(self, at_s: float, text: str) -> None:
        self._phases.append((at_s, text, "green"))

    def fault(self, at_s: float, text: str) -> None:
        self._phases.append((at_s, text, "bold red"))

    def round(self, at_s: float, record: RoundPart) -> None:
        del at_s
        self._rounds.append(record)

    def sample(self, sample: Sample) -> None:
        self._sample = sample

    def finish(self, report: Report | None) -> None:
        self._over = True
        self._live.stop()
        if report is None:
            self._console.print("[red]stopped before the end; there is no report")

    def _draw(self) -> RenderableType:
        if self._scenario is None:
            return Text("")
        parts: list[RenderableType] = [self._happened()]
        if self._rounds:
            parts.append(self._round_table())
        if self._sample is not None:
            parts.append(self._fleet(self._scenario, self._sample))
        title = f"[bold green]nervure[/] {self._scenario.name}  {time.monotonic() - self._began_s:.0f} s"
        return Panel(Group(*parts), title=title, title_align="left", border_style="green", padding=(0, 1))

    def _happened(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right", style="dim", min_width=8)
        table.add_column(width=1)
        table.add_column()
        shown = self._phases[-PHASES_SHOWN:]
        for index, (at_s, text, style) in enumerate(shown):
            running = index == len(shown) - 1 and not self._over
            sign: RenderableType = Text("✗" if "red" in style else "✓", style=style)
            table.add_row(
                f"{at_s:.1f} s", self._spinner if running and "red" not in style else sign, Text(text, style="")
            )
        return table

    def _round_table(self) -> RenderableType:
        table = Table(box=None, header_style="dim", padding=(0, 2), pad_edge=False)
        for name in ("round", "updates", "F1", "false pos.", "worst site"):
            table.add_column(name, justify="right")
        table.add_column("outcome")
        for one in self._rounds[-10:]:
            table.add_row(
                str(one.round),
                " + ".join(str(count) for count in one.updates.values()),
                "" if one.f1 is None else f"{one.f1:.4f}",
                "" if one.fpr is None else f"{one.fpr:.2%}",
                "" if one.worst_site_fpr is None else f"{one.worst_site_fpr:.2%}",
                Text(f"release {one.release}", style="green") if one.accepted else Text(one.reason, style="yellow"),
            )
        return table

    def _fleet(self, scenario: Scenario, sample: Sample) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for colour, region in zip(COLOURS * 3, scenario.regions, strict=False):
            count = sample.connected.get(region, 0)
            bar = ProgressBar(total=scenario.total_agents, completed=count, width=30, complete_style=colour)
            table.add_row(region, bar, f"{count} agents")
        waiting = sample.produced - sample.acknowledged
        counts = f"{sample.produced:,} events, {waiting:,} waiting in spools; {sample.decisions:,} decisions"
        return Group(table, Text(counts, style="dim"))
