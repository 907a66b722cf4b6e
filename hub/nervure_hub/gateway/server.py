"""A gateway: sessions of many agents over one journal.

Rules
    1. A gateway knows its agents, its journal and the object store; it asks nobody per message. It tells the directory
       what changed, in batches.
    2. One session an agent: a newer one ends the older.
    3. Nothing is acknowledged before the journal says that it is durable. When the journal fails, the sessions that had
       something in it end (their agents come again, here or elsewhere), and the journal is tried again.
    4. Leaving: take no more agents, ask those who are here to move, give them the drain window, end what is left, sync
       the journal, close. Safe to do twice.

>>> async with GatewayServer(GatewaySettings(...), objects, directory) as gateway:
...     print(gateway.port)
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from nervure_core.clock import Clock, SystemClock
from nervure_core.codec import MalformedFrame
from nervure_core.disk import Disk
from nervure_core.errors import NervureError, WorldError
from nervure_core.events import EventBatch
from nervure_core.ids import new_id
from nervure_core.messages import Desired, Hello, Lost, Move, Refused, TaskOrder, Welcome
from nervure_core.transport import TlsFiles, server
from nervure_hub.config import GatewayConfig
from nervure_hub.context import EventCounts, GatewayStats, TaskReply
from nervure_hub.gateway.connection import Connection, Silent, Superseded
from nervure_hub.gateway.journal import Journal, JournalSlice
from nervure_hub.gateway.links import DirectorySink
from nervure_hub.gateway.records import EVENTS, LOSS, StoredBatch, StoredLoss, encode_record
from nervure_hub.gateway.roster import Roster
from nervure_hub.gateway.service import AgentStream, Artifacts, add_services, bind
from nervure_hub.gateway.session import Admission, HubSession, greet
from nervure_hub.gateway.spreading import spread
from nervure_hub.gateway.tasks import TaskDesk, order_frames
from nervure_hub.gateway.watermarks import StreamKey

_log = logging.getLogger(__name__)
NOT_HERE = "the agent is not connected"
_END_S = 15.0
"""Bound on what sessions may take to end once told to; longer than their own flush."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What one gateway is told by code; ``config`` is what the user set."""

    name: str
    hub_id: str
    region: str
    host: str
    port: int
    """0 takes a free one."""
    journal_folder: Path
    config: GatewayConfig
    advertised: str = ""
    """Its own hub's address as agents are told, which is left out when they are asked to move."""
    hubs: tuple[str, ...] = ()
    """Addresses agents are told, best first."""
    tls: TlsFiles | None = None
    clear: bool = False


@dataclass(frozen=True, slots=True)
class _Token:
    """What the journal hands back; a loss report counts no events."""

    connection: Connection
    stream_id: bytes
    end_seq: int
    count: int
    size_bytes: int


@dataclass(slots=True)
class _Counts:
    received: int = 0
    stored: int = 0
    repeated: int = 0
    lost: int = 0
    malformed: int = 0
    refused: int = 0


class GatewayServer:
    """One gateway; an async context manager that serves while it is open.

    Args:
        settings: Who and where it is.
        artifacts: Where models are read.
        directory: Whom it reports to.
        clock: Stamps arrivals.
        disk: Where the journal is; the machine's own by default.
        schedule: As ``Journal.start`` says.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        artifacts: Artifacts,
        directory: DirectorySink,
        *,
        clock: Clock | None = None,
        disk: Disk | None = None,
        schedule: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._settings = settings
        self._disk, self._schedule = disk, schedule
        self._artifacts = artifacts
        self._directory = directory
        self._clock = clock if clock is not None else SystemClock()
        self._hubs = settings.hubs
        self._roster = Roster(settings.name, settings.hub_id, settings.region, self._clock)
        self._counts = _Counts()
        self._draining = False
        self._room = asyncio.Event()
        self._room.set()
        self._stack = AsyncExitStack()
        self.desk = TaskDesk(settings.config.max_task_bytes)
        self.port = 0
        """The port it listens on, once open."""

    def __repr__(self) -> str:
        return f"<GatewayServer {self.name} port {self.port}, {len(self._roster)} sessions>"

    @property
    def name(self) -> str:
        """Names it within its hub."""
        return self._settings.name

    @property
    def sessions(self) -> int:
        """How many agents are here."""
        return len(self._roster)

    async def __aenter__(self) -> Self:
        """Open the journal, bind the port, serve.

        Raises:
            WorldError: The journal can't be used, or the port is taken.
        """
        settings = self._settings
        async with AsyncExitStack() as stack:
            self._journal: Journal[_Token] = await asyncio.to_thread(
                Journal,
                settings.journal_folder,
                segment_bytes=settings.config.journal_segment_bytes,
                quota_bytes=settings.config.journal_quota_bytes,
                disk=self._disk,
            )
            stack.push_async_callback(asyncio.to_thread, self._journal.close)
            self._journal.start(self._on_durable, self._on_failed, schedule=self._schedule)
            await self._listen(stack)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            reporter = tasks.create_task(self._report_for_ever())
            stack.callback(reporter.cancel)
            stack.push_async_callback(self._drain)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        # The body's exception is not passed on: the task group would wrap it, and it is the caller's own.
        await self._stack.aclose()

    async def _listen(self, stack: AsyncExitStack) -> None:
        """Serve on the port; a gateway whose agents come another way overrides this."""
        settings = self._settings
        grpc_server = server(share_port=True)
        add_services(grpc_server, self, self._artifacts)
        self.port = bind(grpc_server, f"{settings.host}:{settings.port}", settings.tls, clear=settings.clear)
        await grpc_server.start()
        stack.push_async_callback(grpc_server.stop, 0.0)

    async def serve_session(self, stream: AgentStream) -> None:
        """Serve one agent to the end of its stream (called by the service)."""
        config = self._settings.config
        try:
            async with asyncio.timeout(config.hello_timeout_s):
                first = await stream.receive()
        except TimeoutError:
            first = None
        if first is None:
            return
        refused = greet(first, Admission(len(self._roster), config.max_sessions, self._draining))
        if refused is not None or not isinstance(first, Hello):
            await self._refuse(stream, refused)
            return
        session = HubSession(
            first, session_id=new_id("session"), credit_bytes=config.credit_bytes, marks=self._journal.marks
        )
        connection = Connection(session, self, now_s=self._clock.wall_s(), ack_delay_s=config.ack_delay_s)
        welcome = Welcome(
            session.session_id,
            self._settings.region,
            self._settings.hub_id,
            config.heartbeat_s,
            config.credit_bytes,
            self._journal.marks.durable(session.key(first.stream_id)),
            spread(self._hubs, self._settings.advertised, first.agent_id),
        )
        self._attach(connection)
        try:
            await connection.run(welcome, stream.receive, stream.send)
        finally:
            self._detach(connection)

    def count_malformed(self) -> None:
        self._counts.malformed += 1

    def repeated(self, events: int) -> None:
        self._counts.received += events
        self._counts.repeated += events

    def touched(self, connection: Connection) -> None:
        self._roster.touch(connection)

    def store(self, connection: Connection, batch: EventBatch) -> None:
        self._counts.received += batch.count
        hello = connection.session.hello
        entry = StoredBatch(hello.agent_id, self._roster.region_of(hello), self._now_us(), batch)
        token = _Token(connection, batch.stream_id, batch.end_seq, batch.count, len(batch.payload))
        self._submit(EVENTS, encode_record(entry), token)

    def store_loss(self, connection: Connection, lost: Lost) -> None:
        self._counts.lost += lost.to_seq - lost.from_seq
        hello = connection.session.hello
        entry = StoredLoss(hello.agent_id, self._roster.region_of(hello), self._now_us(), lost)
        self._submit(LOSS, encode_record(entry), _Token(connection, lost.stream_id, lost.to_seq, 0, 0))

    async def room(self) -> None:
        await self._room.wait()

    async def call(self, orders: Mapping[str, TaskOrder], deadline_s: float) -> AsyncIterator[TaskReply]:
        """As ``AgentTransport.call``, for agents of this gateway."""
        answers: asyncio.Queue[TaskReply] = asyncio.Queue()
        waiting: dict[str, str] = {}
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + deadline_s
        try:
            for agent_id, order in orders.items():
                connection = self._roster.get(agent_id)
                if connection is None:
                    answers.put_nowait(TaskReply(agent_id, order.task_id, ok=False, error=NOT_HERE, content=b""))
                else:
                    self.desk.open(agent_id, order.task_id, answers.put_nowait)
                    connection.post(*order_frames(order))
                waiting[agent_id] = order.task_id
            while waiting:
                try:
                    async with asyncio.timeout_at(ends_at):
                        reply = await answers.get()
                except TimeoutError:
                    break
                waiting.pop(reply.agent_id, None)
                yield reply
            for agent_id, task_id in list(waiting.items()):
                waiting.pop(agent_id)
                self.desk.forget(agent_id, task_id)
                yield TaskReply(agent_id, task_id, ok=False, error=f"silent for {deadline_s:g} s", content=b"")
        finally:
            for agent_id, task_id in waiting.items():
                self.desk.forget(agent_id, task_id)

    async def push_desired(self, desired: Mapping[str, Desired]) -> frozenset[str]:
        """As ``AgentTransport.push_desired``, for agents of this gateway."""
        taken: set[str] = set()
        for agent_id, message in desired.items():
            connection = self._roster.get(agent_id)
            if connection is not None:
                connection.post(message)
                taken.add(agent_id)
        return frozenset(taken)

    async def set_hubs(self, hubs: tuple[str, ...]) -> None:
        """Set the addresses that agents are told from now on."""
        self._hubs = hubs

    async def read_journal(self, from_seq: int, max_bytes: int) -> JournalSlice:
        """Return durable records from ``from_seq`` on."""
        return await asyncio.to_thread(self._journal.read, from_seq, max_bytes)

    async def drop_journal(self, seq: int) -> int:
        """Give away whole journal segments below ``seq``; return the bytes given back."""
        return await self._journal.drop_before(seq)

    def stats(self) -> GatewayStats:
        """Return the counters."""
        counts = self._counts
        return GatewayStats(
            self.name,
            os.getpid(),
            len(self._roster),
            EventCounts(counts.received, counts.stored, counts.repeated, counts.lost),
            self._journal.size_bytes,
            counts.malformed,
            self.desk.open_orders,
        )

    def _now_us(self) -> int:
        return int(self._clock.wall_s() * 1_000_000)

    def _submit(self, klass: int, record: bytes, token: _Token) -> None:
        self._journal.submit(klass, record, token)
        if self._journal.queued_bytes > self._settings.config.journal_queue_bytes:
            self._room.clear()

    def _on_durable(self, tokens: list[_Token]) -> None:
        self._make_room()
        for token in tokens:
            self._counts.stored += token.count
            key = StreamKey(token.connection.agent_id, token.stream_id)
            self._journal.marks.commit(key, token.end_seq)
            token.connection.became_durable(token.stream_id, token.size_bytes)
            newer = self._roster.get(key.agent_id)
            if newer is not None and newer is not token.connection:
                # The agent has come back meanwhile and may be waiting for just this acknowledgement.
                newer.became_durable(token.stream_id, 0)

    def _on_failed(self, tokens: list[_Token], error: NervureError) -> None:
        self._make_room()
        _log.error("journal of %s: %s; its agents must come again", self.name, error.message)
        for token in tokens:
            self._journal.marks.rollback(StreamKey(token.connection.agent_id, token.stream_id))
        for connection in dict.fromkeys(token.connection for token in tokens):
            connection.close(WorldError("this gateway can't write to its journal", hint=error.message))
            newer = self._roster.get(connection.agent_id)
            if newer is not None:
                newer.close(WorldError("this gateway can't write to its journal", hint=error.message))
        self._journal.resume()

    def _make_room(self) -> None:
        if self._journal.queued_bytes <= self._settings.config.journal_queue_bytes // 2:
            self._room.set()

    async def _refuse(self, stream: AgentStream, refused: Refused | None) -> None:
        if refused is None:
            raise MalformedFrame("no greeting")
        self._counts.refused += 1
        if refused.code == "malformed":
            self._counts.malformed += 1
        _log.info("refused %s: %s: %s", stream.peer, refused.code, refused.message)
        await stream.send(refused)

    def _attach(self, connection: Connection) -> None:
        older = self._roster.attach(connection)
        if older is not None:
            older.close(Superseded(f"agent {connection.agent_id} has opened a newer session"))
            self.desk.gone(connection.agent_id, "the agent connected anew")

    def _detach(self, connection: Connection) -> None:
        if self._roster.detach(connection):
            self.desk.gone(connection.agent_id, "the agent left")

    async def _report_for_ever(self) -> None:
        config = self._settings.config
        silent_s = config.heartbeat_s * config.missed_heartbeats
        while True:
            for connection in self._roster.silent_for(silent_s):
                connection.close(Silent(f"agent {connection.agent_id} was silent for {silent_s:g} s"))
            try:
                await self._roster.report(self._directory, self.stats())
            except NervureError as error:
                _log.info("%s: directory: %s", self.name, error.message)
            await asyncio.sleep(config.report_interval_s)

    async def _drain(self) -> None:
        self._draining = True
        config = self._settings.config
        elsewhere = tuple(hub for hub in self._hubs if hub != self._settings.advertised)
        for connection in self._roster:
            connection.drain(Move(spread(elsewhere, "", connection.agent_id), config.drain_s))
        try:
            async with asyncio.timeout(config.drain_s):
                await self._roster.empty.wait()
        except TimeoutError:
            _log.info("%s: %d agents did not move within %g s", self.name, len(self._roster), config.drain_s)
        for connection in self._roster:
            connection.close()
        try:
            async with asyncio.timeout(_END_S):
                await self._roster.empty.wait()
        except TimeoutError:
            _log.warning("%s: %d sessions did not end", self.name, len(self._roster))
