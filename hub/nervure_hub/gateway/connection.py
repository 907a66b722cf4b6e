"""One agent's stream at work: performs what ``session`` decides.

Rules
    1. ``run`` owns everything of the session and returns when all of it has ended: it reads until the agent has
       finished, the session is closed from here, or a frame breaks the contract; then what is in flight becomes durable
       and is acknowledged, within a bound; then the stream ends.
    2. Whoever wants to send ``post``s; one writer task sends, so frames never interleave.
    3. A broken session raises out of ``run``; nobody else's session notices.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from nervure_core.codec import MalformedFrame
from nervure_core.errors import NervureError, PeerError
from nervure_core.events import EventBatch
from nervure_core.messages import (
    AgentMessage,
    AgentStatus,
    DeploymentReport,
    DeploymentState,
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    Hello,
    HubMessage,
    Lost,
    Move,
    Running,
    TaskPart,
    TaskResult,
    Welcome,
)
from nervure_hub.gateway.session import HubSession
from nervure_hub.gateway.tasks import TaskDesk
from nervure_hub.gateway.watermarks import Taken

Receive = Callable[[], Awaitable[AgentMessage | None]]
"""Returns the next message, None at the end of the stream."""
Send = Callable[[HubMessage], Awaitable[None]]

_FLUSH_S = 10.0


class Superseded(PeerError):
    """The same agent has opened a newer session."""

    code = "superseded"


class Silent(PeerError):
    """An agent has missed its heartbeats."""

    code = "silent"


class Intake(Protocol):
    """What a connection needs of its gateway."""

    desk: TaskDesk

    def store(self, connection: Connection, batch: EventBatch) -> None:
        """Queue a batch for the journal."""
        ...

    def store_loss(self, connection: Connection, lost: Lost) -> None:
        """Queue a report of loss for the journal."""
        ...

    def repeated(self, events: int) -> None:
        """Count events that came again."""
        ...

    def touched(self, connection: Connection) -> None:
        """Note that the directory should hear of this connection."""
        ...

    async def room(self) -> None:
        """Wait until the journal's queue has room."""
        ...


class Connection:
    """One agent's stream.

    Args:
        session: The greeted session.
        intake: The gateway.
        now_s: Wall clock at the greeting.
        ack_delay_s: How long an acknowledgement may wait for company.
    """

    def __init__(self, session: HubSession, intake: Intake, *, now_s: float, ack_delay_s: float) -> None:
        self.session = session
        self.status: AgentStatus | None = None
        self.running: Running = session.hello.running
        self.connected_at_s = now_s
        self._intake = intake
        self._ack_delay_s = ack_delay_s
        self._loop = asyncio.get_running_loop()
        self.last_frame_at = self._loop.time()
        """Of the loop's clock."""
        self._outbox: deque[HubMessage] = deque()
        self._wake = asyncio.Event()
        self._ack_timer: asyncio.TimerHandle | None = None
        self._settled = asyncio.Event()
        self._finished = False
        self._over: asyncio.Future[NervureError | None] = self._loop.create_future()

    def __repr__(self) -> str:
        return f"<Connection {self.session!r}>"

    @property
    def agent_id(self) -> str:
        """Whose it is."""
        return self.session.hello.agent_id

    def post(self, *messages: HubMessage) -> None:
        """Queue messages for the agent, in this order."""
        self._outbox.extend(messages)
        self._wake.set()

    def close(self, error: NervureError | None = None) -> None:
        """End the session from here: flush, then end the stream; with an error, at once. Safe to call again."""
        if error is not None:
            # Not one frame more: behind a batch that failed, a later one would be acknowledged over the hole.
            self.session.end()
            self._settled.set()
        if not self._over.done():
            self._over.set_result(error)

    def drain(self, move: Move) -> None:
        """Ask the agent to go elsewhere."""
        if self.session.drain():
            self.post(move)

    def became_durable(self, stream_id: bytes, size_bytes: int) -> None:
        """Pass on what the journal reports; acknowledges soon, or now when credit runs low."""
        self.session.became_durable(stream_id, size_bytes)
        if not self.session.in_flight_bytes:
            self._settled.set()
        if self._ack_timer is None:
            self._ack_timer = self._loop.call_later(self._ack_delay_s, self._wake.set)
        if self.session.presses():
            self._wake.set()

    async def run(self, welcome: Welcome, receive: Receive, send: Send) -> None:
        """Serve the session to its end.

        Raises:
            NervureError: The agent broke the contract, or the hub had to end the session.
        """
        self.post(welcome)
        error: NervureError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read(receive))
                tasks.create_task(self._write(send))
                error = await self._over
                reader.cancel()
                if error is None:
                    await self._flush()
                self._finished = True
                self._wake.set()
        finally:
            self.session.end()
            if self._ack_timer is not None:
                self._ack_timer.cancel()
        if error is not None:
            raise error

    async def _read(self, receive: Receive) -> None:
        try:
            while (message := await receive()) is not None:
                self.last_frame_at = self._loop.time()
                if type(message) is EventBatch:
                    await self._take_events(message)
                else:
                    self._take(message)
        except NervureError as error:
            self.close(error)
        else:
            self.close()

    async def _take_events(self, batch: EventBatch) -> None:
        taken = self.session.take_events(batch)
        if taken is Taken.REPEAT:
            self._intake.repeated(batch.count)
            self._wake.set()
            return
        self._settled.clear()
        self._intake.store(self, batch)
        await self._intake.room()

    def _take_loss(self, lost: Lost) -> None:
        if self.session.take_loss(lost) is Taken.REPEAT:
            self._wake.set()
        else:
            self._intake.store_loss(self, lost)

    def _take(self, message: AgentMessage) -> None:
        if isinstance(message, Goodbye):
            self.session.goodbye()
            return
        if isinstance(message, Lost):
            self._take_loss(message)
            return
        self.session.take_frame()
        match message:
            case Heartbeat():
                self.status = message.status
                self.running = message.status.running
                self.session.reports(examples=message.status.examples)
                self.post(HeartbeatAck(message.sent_us))
                self._intake.touched(self)
            case TaskResult():
                self._intake.desk.result(self.agent_id, message)
            case TaskPart():
                self._intake.desk.part(self.agent_id, message)
            case DeploymentReport():
                if message.state is DeploymentState.RUNNING:
                    self.running = Running(message.name, message.release, message.bundle_id)
                self._intake.touched(self)
            case Hello() | EventBatch():
                raise MalformedFrame(f"agent {self.agent_id} sent {type(message).__name__} out of place")

    async def _write(self, send: Send) -> None:
        try:
            await self._send_all(send)
        except NervureError as error:
            self.close(error)

    async def _send_all(self, send: Send) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._ack_timer is not None:
                self._ack_timer.cancel()
                self._ack_timer = None
            while self._outbox:
                await send(self._outbox.popleft())
            for message in self.session.due():
                await send(message)
            if self._finished and not self._outbox:
                return

    async def _flush(self) -> None:
        if self.session.in_flight_bytes:
            try:
                async with asyncio.timeout(_FLUSH_S):
                    await self._settled.wait()
            except TimeoutError:
                # The disk is slower than the bound; what is not acknowledged comes again.
                return
