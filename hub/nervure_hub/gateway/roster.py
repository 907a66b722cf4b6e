"""Who is at one gateway now, and what of it the directory has not heard yet.

Rules: one connection an agent, the newest; what changed is collected and handed over in one report; a report that did
not arrive is not forgotten; a directory that forgot (its incarnation changed) gets everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from nervure_core.clock import Clock
from nervure_core.messages import Hello
from nervure_hub.context import AgentRecord, GatewayStats
from nervure_hub.gateway.connection import Connection
from nervure_hub.gateway.links import DirectorySink, GatewayReport

_QUIET_S = 5.0
"""How long a gateway says nothing when nothing changed; also how soon a restarted directory hears of an idle one."""


class Roster:
    """The connections of one gateway.

    Args:
        gateway: Its name.
        hub_id: Its hub.
        region: The hub's region.
        clock: Stamps what is reported.
    """

    def __init__(self, gateway: str, hub_id: str, region: str, clock: Clock) -> None:
        self._gateway, self._hub_id, self._region = gateway, hub_id, region
        self._clock = clock
        self._by_agent: dict[str, Connection] = {}
        # Dictionaries, not sets: they are gone through in the order of arrival, every time alike.
        self._open: dict[Connection, None] = {}
        self._dirty: dict[Connection, None] = {}
        self._departed: list[AgentRecord] = []
        self._incarnation = ""
        self._whole = True
        self._told: GatewayStats | None = None
        self._told_at_s = 0.0
        self.empty = asyncio.Event()
        """Set while nobody is here."""
        self.empty.set()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._open))

    def get(self, agent_id: str) -> Connection | None:
        """Return the agent's connection."""
        return self._by_agent.get(agent_id)

    def attach(self, connection: Connection) -> Connection | None:
        """Add a connection; return the older one of the same agent, which has to end."""
        older = self._by_agent.get(connection.agent_id)
        self._by_agent[connection.agent_id] = connection
        self._open[connection] = self._dirty[connection] = None
        self.empty.clear()
        return older

    def detach(self, connection: Connection) -> bool:
        """Remove a connection; return True when the agent is gone with it, False when it has a newer one."""
        self._open.pop(connection, None)
        self._dirty.pop(connection, None)
        if not self._open:
            self.empty.set()
        if self._by_agent.get(connection.agent_id) is not connection:
            return False
        del self._by_agent[connection.agent_id]
        self._departed.append(self._record(connection, live=False))
        return True

    def touch(self, connection: Connection) -> None:
        """Note that the directory should hear of a connection."""
        self._dirty[connection] = None

    def silent_for(self, limit_s: float) -> list[Connection]:
        """Return the connections without a frame for so long."""
        now = asyncio.get_running_loop().time()
        return [connection for connection in self._open if now - connection.last_frame_at > limit_s]

    async def report(self, directory: DirectorySink, stats: GatewayStats) -> None:
        """Tell the directory what changed; nothing, if nothing did, but for a sign of life every few seconds.

        Raises:
            WorldError: The directory is not there; the next report will be whole.
        """
        now_s = self._clock.monotonic_s()
        quiet = not (self._whole or self._dirty or self._departed) and stats == self._told
        if quiet and now_s - self._told_at_s < _QUIET_S:
            return
        self._told, self._told_at_s = stats, now_s
        departed, self._departed = self._departed, []
        dirty = dict(self._open) if self._whole else self._dirty
        self._dirty = {}
        whole, self._whole = self._whole, True
        records = (*departed, *(self._record(connection) for connection in dirty if connection in self._open))
        try:
            incarnation = await directory.report(GatewayReport(self._gateway, stats, records, whole))
        except BaseException:
            self._departed = departed + self._departed
            raise
        # A directory that has begun anew since the last report knows only what this one said.
        self._whole = not whole and incarnation != self._incarnation
        self._incarnation = incarnation

    def region_of(self, hello: Hello) -> str:
        """Return the region an agent belongs to."""
        return hello.home_region or self._region

    def _record(self, connection: Connection, *, live: bool = True) -> AgentRecord:
        hello = connection.session.hello
        silent_s = asyncio.get_running_loop().time() - connection.last_frame_at
        return AgentRecord(
            agent_id=hello.agent_id,
            region=self._region,
            hub_id=self._hub_id,
            gateway=self._gateway,
            session_id=connection.session.session_id,
            labels=hello.labels,
            workload=hello.workload,
            running=connection.running,
            can_train=hello.can_train,
            examples=hello.examples,
            status=connection.status,
            connected_at_s=connection.connected_at_s,
            last_seen_s=self._clock.wall_s() - silent_s,
            state="live" if live else "gone",
            home_region=self.region_of(hello),
        )
