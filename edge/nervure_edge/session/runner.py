"""Carries out what the session's table says: dials, greets, pumps, waits, drains.

Rules:
- Knows no gRPC: a hub is reached through a ``Link``, whose every way of ending is one ``LinkDownError``; so is silence, and
  all of them become one word for the table: ``CUT``.
- One task writes, one reads, one beats the heart; none of them decides: they report to ``run``, which asks the table.
- Each reason for having no hub is said once, not at every try; a hub that takes the agent ends that.
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
from typing import Any

from nervure_core.clock import Clock
from nervure_core.codec import MalformedFrame, split_content
from nervure_core.errors import NervureError, PeerError
from nervure_core.messages import (
    PROTOCOL,
    AgentMessage,
    Move,
    Refused,
    TaskResult,
    Welcome,
)
from nervure_core.retry import Backoff
from nervure_edge.changes import Changes
from nervure_edge.config import SessionSettings
from nervure_edge.session.hubs import HubList
from nervure_edge.session.link import Connection, Handler, Link, LinkDownError
from nervure_edge.session.outbox import Outbox
from nervure_edge.session.pumps import Pumps
from nervure_edge.session.states import Effect, Happened, State, step
from nervure_edge.session.window import Window
from nervure_edge.spool import Spool

logger = logging.getLogger(__name__)

_MISMATCH = "protocol"
_FAREWELL_S = 1.0
_SAID = 64
"""Different reasons that are said; beyond it somebody sends ever new ones."""


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
        self.problem = ""
        """Why the last try to have a session failed; empty in session."""
        self._said: set[str] = set()
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

        why = f"{hub} does not answer within {self._settings.connect_timeout_s:g} s"

        async def reach() -> Happened:
            nonlocal why
            try:
                await connection.link.ready()
            except LinkDownError as error:
                why = str(error)
                return Happened.CUT
            return Happened.OPENED

        happened = await self._unless_stopped(reach(), self._settings.connect_timeout_s)
        if happened is Happened.CUT:
            self._failed(why)
        return happened

    async def _greet(self) -> Happened:
        connection = self._connection
        if connection is None:
            return Happened.CUT
        happened = await self._unless_stopped(self._exchange_hello(connection), self._settings.connect_timeout_s)
        if happened in (Happened.CUT, Happened.REFUSED, Happened.MISMATCHED):
            refused = self.refusal.message if self.refusal is not None and happened is not Happened.CUT else ""
            why = refused or connection.problem
            self._failed(f"{connection.hub} did not take this agent" + (f": {why}" if why else ""))
        return happened

    async def _exchange_hello(self, connection: Connection) -> Happened:
        try:
            await connection.link.send(self._handler.hello())
            answer = await connection.link.receive()
        except (LinkDownError, MalformedFrame) as error:
            connection.problem = str(error).removeprefix(f"{connection.hub}: ")
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
        # Who was told that there is no hub is told that there is one again.
        logger.log(
            logging.WARNING if self._said else logging.INFO,
            "in session %s with %s in %s",
            welcome.session_id,
            connection.hub,
            welcome.region,
        )
        self.problem = ""
        self._said.clear()
        return Happened.WELCOMED

    def _start_pumps(self, group: asyncio.TaskGroup) -> None:
        connection = self._connection
        if connection is None or connection.welcome is None:
            return
        pumps = Pumps(connection, self._spool, self._outbox, self._handler, self, self._clock)
        beat_s = connection.welcome.heartbeat_s
        silence_s = max(self._settings.silence_s, 3 * beat_s)
        for name, work in (("write", pumps.write()), ("read", pumps.read()), ("beat", pumps.beat(beat_s, silence_s))):
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

    # What the pumps report

    def progressed(self) -> None:
        """Something was sent or acknowledged."""
        self._changes.notify()

    def healthy(self) -> None:
        """The session carries both ways: the next trouble is a new one."""
        self._backoff.reset()

    def asked_to_move(self, connection: Connection, move: Move) -> None:
        """The hub wants the agent elsewhere; the first window stands, the last list of hubs counts."""
        self._hubs.move(move.hubs)
        if self._move_due_s is None:
            self._move_due_s = self._clock.monotonic_s() + self._rng.uniform(0.0, move.within_s)
        self._tell(connection, Happened.MOVE)

    def refused(self, connection: Connection, refusal: Refused) -> None:
        """The hub sends the agent away."""
        self.refusal = refusal
        self._tell(connection, Happened.REFUSED)

    def _failed(self, why: str) -> None:
        """Go on to the next hub, unless a Move has chosen one already."""
        if why in self._said:
            logger.info("%s", why)
        elif len(self._said) < _SAID:
            self._said.add(why)
            logger.warning("%s; trying again, events wait in the spool", why)
        self.problem = why
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
