"""What happened when: the run's own memory, fed by whoever sees something and read by the report.

Rules: one clock, seconds since the run started; only changes are kept of sessions and releases; nothing is computed here.

>>> recorder = Recorder(clock_s=iter([100.0, 101.5]).__next__)
>>> recorder.phase("etcd is ready")
>>> recorder.marks[0].at_s
1.5
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from nervure_simulations.display import Display
from nervure_simulations.fleet.plan import AgentPlan
from nervure_simulations.report.model import AgentHistory, Mark, RoundPart, Sample

Value = TypeVar("Value")


class Recorder:
    """Keeps the story of a run and tells it to a display as it goes.

    Args:
        display: Shows it; None shows nothing.
        clock_s: Monotonic seconds.
        wall_s: Seconds since the Unix epoch, for what other processes stamped.
    """

    def __init__(
        self,
        display: Display | None = None,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._display = display
        self._clock_s = clock_s
        self._started_s = clock_s()
        self.started_wall_s = wall_s()
        self.marks: list[Mark] = []
        self.samples: list[Sample] = []
        self.rounds: list[RoundPart] = []
        self._sessions: dict[str, list[tuple[float, str]]] = {}
        self._releases: dict[str, list[tuple[float, int]]] = {}

    def now_s(self) -> float:
        """Return seconds since the start."""
        return self._clock_s() - self._started_s

    def at_wall(self, wall_s: float) -> float:
        """Turn a wall-clock stamp of this machine into seconds since the start."""
        return wall_s - self.started_wall_s

    def phase(self, text: str, *, kind: str = "phase") -> None:
        """Note that something was reached."""
        at_s = self.now_s()
        self.marks.append(Mark(at_s=round(at_s, 3), kind=kind, text=text))
        if self._display is not None:
            (self._display.fault if kind == "fault" else self._display.phase)(at_s, text)

    def round(self, record: RoundPart) -> None:
        """Note that a round ended."""
        self.rounds.append(record)
        if self._display is not None:
            self._display.round(self.now_s(), record)

    def sample(self, sample: Sample) -> None:
        """Keep how the fleet is now."""
        self.samples.append(sample)
        if self._display is not None:
            self._display.sample(sample)

    def session(self, agent_id: str, region: str, at_s: float | None = None) -> None:
        """Note where an agent has its session now; empty while it has none."""
        _change(self._sessions.setdefault(agent_id, []), self.now_s() if at_s is None else at_s, region)

    def release(self, agent_id: str, release: int) -> None:
        """Note which release an agent runs now."""
        _change(self._releases.setdefault(agent_id, []), self.now_s(), release)

    def sessions_of(self, agent_id: str) -> tuple[tuple[float, str], ...]:
        """Return an agent's sessions so far, as (since, region)."""
        return tuple(self._sessions.get(agent_id, ()))

    def histories(self, agents: tuple[AgentPlan, ...], sites: dict[str, str]) -> tuple[AgentHistory, ...]:
        """Return every agent's sessions and releases."""
        return tuple(
            AgentHistory(
                agent=agent.agent_id,
                home=agent.home,
                site=sites.get(agent.agent_id, ""),
                kind=agent.kind,
                sessions=self.sessions_of(agent.agent_id),
                releases=tuple(self._releases.get(agent.agent_id, ())),
            )
            for agent in agents
        )


def _change(history: list[tuple[float, Value]], at_s: float, value: Value) -> None:
    if not history or history[-1][1] != value:
        # A stamp from another process may lie a little before what was seen here: time must not go back.
        earliest = history[-1][0] if history else 0.0
        history.append((round(max(at_s, earliest), 3), value))
