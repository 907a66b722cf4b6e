"""Carries out what the session's table says: dials, greets, pumps, waits, drains.

Rules:
- Knows no gRPC: a hub is reached through a ``Link``, whose every way of ending is one ``LinkDownError``; so is silence, and
  all of them become one word for the table: ``CUT``.
- One task writes, one reads, one beats the heart; none of them decides: they report to ``run``, which asks the table.
- Events are sent in order, within the hub's credit; the window begins where both sides agree that everything is durable.
- ``stop`` drains: what is spooled is sent and acknowledged, within ``drain_timeout_s``, before Goodbye.

>>> uplink = SessionRunner(config.session, hubs, spool, handler, dial=GrpcLink, ...)  # doctest: +SKIP
>>> async with asyncio.TaskGroup() as group:  # doctest: +SKIP
...     group.create_task(uplink.run())
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol

from nervure_core.clock import Clock
from nervure_core.codec import MalformedFrame, split_content
from nervure_core.errors import NervureError, PeerError, WorldError
from nervure_core.messages import (
    PROTOCOL,
    Ack,
    AgentMessage,
    AgentStatus,
    Credit,
    Desired,
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    Hello,
    HubMessage,
    Lost,
    Move,
    Refused,
    TaskOrder,
    TaskPart,
    TaskResult,
    Welcome,
)
from nervure_core.retry import Backoff
from nervure_edge.changes import Changes
from nervure_edge.config import SessionSettings
from nervure_edge.session.hubs import HubList
from nervure_edge.session.orders import Assembler
from nervure_edge.session.outbox import Outbox
from nervure_edge.session.states import Effect, Happened, State, step
from nervure_edge.session.window import Window
from nervure_edge.spool import Spool

logger = logging.getLogger(__name__)

_MISMATCH = "protocol"
_FAREWELL_S = 1.0


class LinkDownError(WorldError):
    """The way to a hub does not exist or has broken."""

    code = "link_down"


class Link(Protocol):
    """A way to one hub: the seam to the network."""

    async def ready(self) -> None:
        """Return when the hub is reached.

        Raises:
            LinkDownError: It is not.
        """
        ...

    async def send(self, message: AgentMessage) -> None:
        """Send one frame; one caller at a time.

        Raises:
            LinkDownError: The stream has broken.
        """
        ...

    async def receive(self) -> HubMessage | None:
        """Return the next frame, None when the hub has ended the stream.

        Raises:
            LinkDownError: The stream has broken.
            MalformedFrame: The hub broke the contract.
        """
        ...

    async def finish(self) -> None:
        """Say that nothing more will be sent."""
        ...

    def fetch(self, sha256: str, offset: int) -> AsyncIterator[bytes]:
        """Yield an artifact's bytes from ``offset`` on; raises as ``models.deploy.Fetch`` says."""
        ...

    async def close(self) -> None:
        """Let go of everything; safe to call again."""
        ...


class Handler(Protocol):
    """What the agent does with a session."""

    def hello(self) -> Hello:
        """Return the first frame of a session."""
        ...

    def status(self) -> AgentStatus:
        """Return what the agent says of itself now."""
        ...

    def desired(self, desired: Desired) -> None:
        """Take the desired state."""
        ...

    def order(self, order: TaskOrder) -> None:
        """Take a task whose content is whole."""
        ...


class Connection:
    """One link to one hub and what runs on it."""

    def __init__(self, hub: str, link: Link) -> None:
        self.hub = hub
        self.link = link
        self.welcome: Welcome | None = None
        self.window = Window(0, 0)
        self.assembler = Assembler()
        self.happened: asyncio.Queue[Happened] = asyncio.Queue()
        self.wake = asyncio.Event()
        self.heartbeat_due = False
        self.leaving = False
        self.heard_s = 0.0
        self.tasks: list[asyncio.Task[None]] = []


class SessionRunner:
    """Keeps a session with the first hub that takes us.

    Args:
        settings: Waits and bounds.
        hubs: ``host:port``, best first; at least one.
        spool: Where events come from.
        handler: The agent.
        dial: Makes the link to a hub; may raise ``ConfigurationError`` (a TLS file that cannot be read).
        clock: Time of waits and heartbeats.
        changes: Is told whenever something changes here.
        rng: Source of jitter.
    """

    def __init__(
        self,
        settings: SessionSettings,
        hubs: tuple[str, ...],
        spool: Spool,
        handler: Handler,
        *,
        dial: Callable[[str], Link],
        clock: Clock,
        changes: Changes,
        rng: random.Random | None = None,
    ) -> None:
        self._settings = settings
        self._hubs = HubList(hubs)
        self._spool = spool
        self._handler = handler
        self._dial_hub = dial
        self._clock = clock
        self._changes = changes
        self._rng = rng if rng is not None else random.Random()
        self._backoff = Backoff(settings.backoff_base_s, settings.backoff_cap_s, self._rng)
        self._outbox = Outbox()
        self._stop = asyncio.Event()
        self._connection: Connection | None = None
        self._move_due_s: float | None = None
        self._drain_until_s: float | None = None
        self.state = State.RESTING
        self.refusal: Refused | None = None
        """What the last hub said that did not take us; None after one did."""
        self.sessions = self.cuts = self.malformed = 0

    @property
    def hub(self) -> str:
        """``host:port`` of the hub we are in session with, empty without one."""
        return self._connection.hub if self._connection is not None and self._connection.welcome is not None else ""

    @property
    def region(self) -> str:
        """Region of that hub, empty without one."""
        welcome = self._connection.welcome if self._connection is not None else None
        return welcome.region if welcome is not None else ""

    @property
    def live(self) -> bool:
        """Whether events can leave now."""
        return self.state in (State.LIVE, State.MOVING, State.DRAINING)

    def stop(self) -> None:
        """Ask ``run`` to drain, say goodbye and return; safe to call again."""
        self._stop.set()
        self._changes.notify()

    def post(self, message: AgentMessage) -> None:
        """Send a message as soon as a hub listens; it survives a change of hubs."""
        if isinstance(message, TaskResult):
            parts = split_content(message.task_id, message.content)
            if parts:
                head = TaskResult(
                    message.task_id, message.run_id, message.round, message.ok, message.error, b"", len(parts)
                )
                self._outbox.post([head, *parts])
                return self.wake()
        self._outbox.post([message])
        return self.wake()

    def wake(self) -> None:
        """Look for something to send."""
        if self._connection is not None:
            self._connection.wake.set()

    async def run(self) -> None:
        """Keep a session until ``stop``; return when everything is closed."""
        async with asyncio.TaskGroup() as group:
            try:
                happened = Happened.START
                while True:
                    self.state, effect = step(self.state, happened)
                    self._changes.notify()
                    if self.state is State.CLOSED:
                        break
                    happened = await self._perform(effect, group)
            finally:
                # Shielded by nothing but itself: closing a channel is bounded by its own grace of zero.
                await self._hang_up()
                self._changes.notify()

    async def _perform(self, effect: Effect, group: asyncio.TaskGroup) -> Happened:
        match effect:
            case Effect.DIAL:
                return await self._dial()
            case Effect.GREET:
                return await self._greet()
            case Effect.WAIT:
                return await self._wait(self._backoff.next_delay_s())
            case Effect.WAIT_LONG:
                return await self._wait(self._rng.uniform(0.5, 1.0) * self._settings.mismatch_wait_s)
            case Effect.PUMP:
                self._start_pumps(group)
            case Effect.FLUSH:
                self._drain_until_s = self._clock.monotonic_s() + self._settings.drain_timeout_s
                self.wake()
            case Effect.SPREAD | Effect.NOTHING | Effect.HANG_UP:
                pass
        return await self._next()

    async def _dial(self) -> Happened:
        await self._hang_up()
        hub = self._hubs.current()
        self._connection = connection = Connection(hub, self._dial_hub(hub))

        async def reach() -> Happened:
            try:
                await connection.link.ready()
            except LinkDownError as error:
                logger.info("%s", error)
                return Happened.CUT
            return Happened.OPENED

        happened = await self._unless_stopped(reach(), self._settings.connect_timeout_s)
        if happened is Happened.CUT:
            self._failed(f"{hub} does not answer")
        return happened

    async def _greet(self) -> Happened:
        connection = self._connection
        if connection is None:
            return Happened.CUT
        happened = await self._unless_stopped(self._exchange_hello(connection), self._settings.connect_timeout_s)
        if happened in (Happened.CUT, Happened.REFUSED, Happened.MISMATCHED):
            why = f": {self.refusal.message}" if self.refusal is not None and happened is not Happened.CUT else ""
            self._failed(f"{connection.hub} did not take this agent{why}")
        return happened

    async def _exchange_hello(self, connection: Connection) -> Happened:
        try:
            await connection.link.send(self._handler.hello())
            answer = await connection.link.receive()
        except (LinkDownError, MalformedFrame) as error:
            logger.info("greeting %s failed: %s", connection.hub, error)
            return Happened.CUT
        if isinstance(answer, Welcome) and answer.protocol == PROTOCOL:
            return self._welcomed(connection, answer)
        if isinstance(answer, Welcome):
            answer = Refused(_MISMATCH, f"hub speaks protocol {answer.protocol}, this agent {PROTOCOL}")
        if not isinstance(answer, Refused):
            return Happened.CUT
        self.refusal = answer
        return Happened.MISMATCHED if answer.code == _MISMATCH else Happened.REFUSED

    def _welcomed(self, connection: Connection, welcome: Welcome) -> Happened:
        try:
            self._spool.skip_to(welcome.durable_up_to)
        except PeerError as error:
            self.refusal = Refused("watermark", error.message)
            return Happened.REFUSED
        self._spool.acknowledge(self._spool.stream_id, welcome.durable_up_to)
        connection.welcome = welcome
        connection.window = Window(max(welcome.durable_up_to, self._spool.acknowledged_seq), welcome.credit_bytes)
        connection.heard_s = self._clock.monotonic_s()
        self._hubs.welcomed(welcome.hubs)
        self.refusal = None
        self._move_due_s = None
        self.sessions += 1
        logger.info("in session %s with %s in %s", welcome.session_id, connection.hub, welcome.region)
        return Happened.WELCOMED

    def _start_pumps(self, group: asyncio.TaskGroup) -> None:
        connection = self._connection
        if connection is None or connection.welcome is None:
            return
        for name, work in (
            ("write", self._write_all(connection)),
            ("read", self._read_all(connection)),
            ("heartbeat", self._beat(connection, connection.welcome.heartbeat_s)),
        ):
            connection.tasks.append(group.create_task(self._guarded(connection, work), name=f"{name} {connection.hub}"))

    async def _guarded(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except LinkDownError as error:
            logger.info("session with %s ended: %s", connection.hub, error)
        except NervureError as error:
            self.malformed += isinstance(error, MalformedFrame)
            logger.warning("session with %s ended: %s", connection.hub, error)
        if not connection.leaving:
            self._tell(connection, Happened.CUT)

    def _tell(self, connection: Connection, happened: Happened) -> None:
        connection.happened.put_nowait(happened)
        self._changes.notify()

    async def _next(self) -> Happened:
        """Wait for the next thing that happens to the session that is up."""
        connection = self._connection
        if connection is None:
            return Happened.CUT
        while True:
            if not connection.happened.empty():
                happened = connection.happened.get_nowait()
                break
            if self._stop.is_set() and self._drain_until_s is None:
                return Happened.STOP
            deadline_s = self._drain_until_s if self._drain_until_s is not None else self._move_due_s
            left_s = None if deadline_s is None else deadline_s - self._clock.monotonic_s()
            if self._drain_until_s is not None and (self._drained() or (left_s is not None and left_s <= 0)):
                await self._say_goodbye(connection)
                return Happened.DRAINED
            if left_s is not None and left_s <= 0:
                self._move_due_s = None
                return Happened.MOVE_DUE
            await self._any_change(connection, left_s)
        if happened in (Happened.CUT, Happened.REFUSED):
            self.cuts += 1
            self._failed(f"session with {connection.hub} was cut")
        return happened

    async def _any_change(self, connection: Connection, left_s: float | None) -> None:
        """Return when something happened, stop was asked for, the spool drained, or the time is over."""
        stop_seen, draining = self._stop.is_set(), self._drain_until_s is not None

        def changed() -> bool:
            stopped = self._stop.is_set() != stop_seen
            return stopped or not connection.happened.empty() or (draining and self._drained())

        if left_s is None:
            await self._changes.wait_for(changed)
        else:
            await self._changes.wait_within(changed, left_s, self._clock)

    def _drained(self) -> bool:
        return self._spool.acknowledged_seq >= self._spool.next_seq and not len(self._outbox)

    async def _say_goodbye(self, connection: Connection) -> None:
        """Let the writer say Goodbye and wait, not long, until the hub has closed its side as well."""
        connection.leaving = True
        connection.wake.set()
        if connection.tasks:
            await asyncio.wait(connection.tasks[:2], timeout=_FAREWELL_S)

    async def _wait(self, delay_s: float) -> Happened:
        await self._hang_up()
        self._changes.notify()

        async def sleep() -> Happened:
            await self._clock.sleep(delay_s)
            return Happened.RETRY

        return await self._unless_stopped(sleep(), None)

    async def _unless_stopped(self, work: Coroutine[Any, Any, Happened], timeout_s: float | None) -> Happened:
        """Return what ``work`` returns, ``STOP`` when asked to stop first, ``CUT`` when it takes too long."""
        async with asyncio.TaskGroup() as group:
            working = group.create_task(work)
            stopping = group.create_task(self._stop.wait())
            done, _ = await asyncio.wait((working, stopping), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            result = working.result() if working in done else Happened.STOP if stopping in done else Happened.CUT
            working.cancel()
            stopping.cancel()
        return result

    async def _write_all(self, connection: Connection) -> None:
        link = connection.link
        while True:
            connection.wake.clear()
            if connection.leaving:
                await link.send(Goodbye("stopped"))
                return await link.finish()
            if connection.heartbeat_due:
                connection.heartbeat_due = False
                await link.send(Heartbeat(int(self._clock.wall_s() * 1e6), self._handler.status()))
            while (entry := self._outbox.peek()) is not None:
                for message in entry:
                    await link.send(message)
                self._outbox.done(entry)
                self._changes.notify()
            await self._send_events(connection)
            await connection.wake.wait()

    async def _send_events(self, connection: Connection) -> None:
        window = connection.window
        for item in self._spool.read(window.next_seq):
            if not window.may_send:
                return
            await connection.link.send(item)
            if isinstance(item, Lost):
                window.sent(item.from_seq, item.to_seq - item.from_seq, 0)
            else:
                window.sent(item.first_seq, item.count, len(item.payload))
            if connection.heartbeat_due or len(self._outbox):
                # Something small waits behind a long backlog: come back to the events after it.
                connection.wake.set()
                return

    async def _read_all(self, connection: Connection) -> None:
        while (message := await connection.link.receive()) is not None:
            connection.heard_s = self._clock.monotonic_s()
            self._take(connection, message)

    def _take(self, connection: Connection, message: HubMessage) -> None:
        match message:
            case Ack(stream_id=stream_id, durable_up_to=durable_up_to):
                if stream_id == self._spool.stream_id:
                    self._spool.acknowledge(stream_id, connection.window.acknowledged(durable_up_to))
                    self._changes.notify()
            case Credit(bytes=more):
                connection.window.credited(more)
                connection.wake.set()
            case HeartbeatAck():
                # Only a session that carries both ways proves that a hub is well: then the next trouble is a new one.
                self._backoff.reset()
            case Desired():
                self._handler.desired(message)
            case TaskOrder():
                self._take_order(connection.assembler.order(message))
            case TaskPart():
                self._take_order(connection.assembler.part(message))
            case Move(hubs=hubs, within_s=within_s):
                self._hubs.move(hubs)
                if self._move_due_s is None:
                    self._move_due_s = self._clock.monotonic_s() + self._rng.uniform(0.0, within_s)
                self._tell(connection, Happened.MOVE)
            case Refused():
                self.refusal = message
                self._tell(connection, Happened.REFUSED)
            case Welcome():
                raise MalformedFrame("a second Welcome in one session")

    def _take_order(self, order: TaskOrder | None) -> None:
        if order is not None:
            self._handler.order(order)

    async def _beat(self, connection: Connection, interval_s: float) -> None:
        silence_s = max(self._settings.silence_s, 3 * interval_s)
        while True:
            connection.heartbeat_due = True
            connection.wake.set()
            await self._clock.sleep(interval_s)
            if self._clock.monotonic_s() - connection.heard_s > silence_s:
                logger.info("%s was silent for %.0f s", connection.hub, silence_s)
                return

    def _failed(self, why: str) -> None:
        """Go on to the next hub, unless a Move has chosen one already."""
        logger.info("%s", why)
        if self._move_due_s is None:
            self._hubs.failed()
        self._move_due_s = None

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        for task in connection.tasks:
            task.cancel()
        await connection.link.close()

    async def fetch(self, sha256: str, offset: int) -> AsyncIterator[bytes]:
        """Yield an artifact's bytes over the connection of the session; as ``models.deploy.Fetch`` says."""
        connection = self._connection
        if connection is None or connection.welcome is None:
            raise LinkDownError("no hub is reachable to fetch an artifact from")
        async for chunk in connection.link.fetch(sha256, offset):
            yield chunk
