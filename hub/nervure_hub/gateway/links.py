"""How the parts of a hub reach each other, whether they share a process or are Ray actors.

Rules: plain data only; a gateway tells the directory in batches, never per message; every call may fail with
``WorldError`` when the other part is down, and whoever calls goes on without it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from nervure_core.messages import Desired, TaskOrder
from nervure_hub.context import AgentRecord, GatewayStats, TaskReply
from nervure_hub.gateway.journal import JournalSlice


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """What changed at one gateway since its last report."""

    gateway: str
    stats: GatewayStats
    records: tuple[AgentRecord, ...]
    """Sessions that opened, closed or sent a heartbeat."""
    whole: bool
    """True when ``records`` are all of the gateway's sessions: whoever is missing is gone."""


class DirectorySink(Protocol):
    """Where gateways report."""

    async def report(self, report: GatewayReport) -> str:
        """Take a report; return the directory's incarnation, which changes when it forgot everything."""
        ...


class JournalSource(Protocol):
    """A journal to compact, wherever its gateway runs."""

    @property
    def name(self) -> str:
        """The gateway's name."""
        ...

    async def read_journal(self, from_seq: int, max_bytes: int) -> JournalSlice:
        """Return durable records from ``from_seq`` on."""
        ...

    async def drop_journal(self, seq: int) -> int:
        """Give away whole segments below ``seq``; return the bytes given back."""
        ...


class GatewayLink(JournalSource, Protocol):
    """A gateway as the rest of the hub sees it."""

    def call(self, orders: Mapping[str, TaskOrder], deadline_s: float) -> AsyncIterator[TaskReply]:
        """As ``AgentTransport.call``, for agents of this gateway."""
        ...

    async def push_desired(self, desired: Mapping[str, Desired]) -> frozenset[str]:
        """As ``AgentTransport.push_desired``, for agents of this gateway."""
        ...

    async def set_hubs(self, hubs: tuple[str, ...]) -> None:
        """Set the addresses that agents are told, best first."""
        ...
