"""What runs while a session is up: one task writes, one reads, one beats the heart. They decide nothing.

Rules: whatever changes the state of the session is reported to it; a pump ends by returning or by raising
``LinkDownError`` or ``MalformedFrame``, and each of these is the end of the session.
"""

from __future__ import annotations

import logging
from typing import Protocol

from nervure_core.clock import Clock
from nervure_core.codec import MalformedFrame
from nervure_core.messages import (
    Ack,
    Credit,
    Desired,
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    HubMessage,
    Lost,
    Move,
    Refused,
    TaskOrder,
    TaskPart,
    Welcome,
)
from nervure_edge.session.link import Connection, Handler
from nervure_edge.session.outbox import Outbox
from nervure_edge.spool import Spool

logger = logging.getLogger(__name__)


class Session(Protocol):
    """Where pumps report to."""

    def progressed(self) -> None:
        """Something was sent or acknowledged."""
        ...

    def healthy(self) -> None:
        """The session carries both ways."""
        ...

    def asked_to_move(self, connection: Connection, move: Move) -> None:
        """The hub wants the agent elsewhere."""
        ...

    def refused(self, connection: Connection, refusal: Refused) -> None:
        """The hub sends the agent away."""
        ...


class Pumps:
    """The pumps of one connection.

    Args:
        connection: What they run on.
        spool: Where events come from.
        outbox: Reports and results.
        handler: The agent.
        session: Where they report to.
        clock: Time of heartbeats.
    """

    def __init__(
        self,
        connection: Connection,
        spool: Spool,
        outbox: Outbox,
        handler: Handler,
        session: Session,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._spool = spool
        self._outbox = outbox
        self._handler = handler
        self._session = session
        self._clock = clock

    async def write(self) -> None:
        """Send heartbeats, reports, results and events, in this order of urgency, until told to leave."""
        connection, link = self._connection, self._connection.link
        while True:
            connection.wake.clear()
            if connection.leaving:
                # The last word on the counters: else a hub would show those of the last beat for ever.
                await link.send(Heartbeat(int(self._clock.wall_s() * 1e6), self._handler.status()))
                await link.send(Goodbye("stopped"))
                return await link.finish()
            if connection.heartbeat_due:
                connection.heartbeat_due = False
                await link.send(Heartbeat(int(self._clock.wall_s() * 1e6), self._handler.status()))
            while (entry := self._outbox.peek()) is not None:
                for message in entry:
                    await link.send(message)
                self._outbox.done(entry)
                self._session.progressed()
            await self._send_events()
            await connection.wake.wait()

    async def _send_events(self) -> None:
        connection, window = self._connection, self._connection.window
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

    async def read(self) -> None:
        """Receive until the hub ends the stream."""
        connection = self._connection
        while (message := await connection.link.receive()) is not None:
            connection.heard_s = self._clock.monotonic_s()
            self._take(message)

    def _take(self, message: HubMessage) -> None:
        connection = self._connection
        match message:
            case Ack(stream_id=stream_id, durable_up_to=durable_up_to):
                if stream_id == self._spool.stream_id:
                    self._spool.acknowledge(stream_id, connection.window.acknowledged(durable_up_to))
                    self._session.progressed()
            case Credit(bytes=more):
                connection.window.credited(more)
                connection.wake.set()
            case HeartbeatAck():
                self._session.healthy()
            case Desired():
                self._handler.desired(message)
            case TaskOrder():
                self._take_order(connection.assembler.order(message))
            case TaskPart():
                self._take_order(connection.assembler.part(message))
            case Move():
                self._session.asked_to_move(connection, message)
            case Refused():
                self._session.refused(connection, message)
            case Welcome():
                raise MalformedFrame("a second Welcome in one session")

    def _take_order(self, order: TaskOrder | None) -> None:
        if order is not None:
            self._handler.order(order)

    async def beat(self, interval_s: float, silence_s: float) -> None:
        """Ask for a heartbeat every ``interval_s``; return when the hub was silent for ``silence_s``."""
        connection = self._connection
        while True:
            connection.heartbeat_due = True
            connection.wake.set()
            await self._clock.sleep(interval_s)
            if self._clock.monotonic_s() - connection.heard_s > silence_s:
                logger.info("%s was silent for %.0f s", connection.hub, silence_s)
                return
