"""A connection that is closed for a failure takes not one frame more, even one that has already arrived."""

from __future__ import annotations

import asyncio

import pytest

from nervure_core.errors import WorldError
from nervure_core.events import EventBatch, EventKind, PayloadCodec
from nervure_core.messages import AgentMessage, Hello, HubMessage, Lost, Welcome
from nervure_hub.gateway.connection import Connection
from nervure_hub.gateway.session import HubSession
from nervure_hub.gateway.tasks import TaskDesk
from nervure_hub.gateway.watermarks import Watermarks

STREAM = b"s" * 16


class FailingIntake:
    """A gateway whose journal fails for the first batch, and has room again at that very moment."""

    def __init__(self) -> None:
        self.desk = TaskDesk(1 << 20)
        self.taken: list[int] = []
        self._room = asyncio.Event()

    def store(self, connection: Connection, batch: EventBatch) -> None:
        self.taken.append(batch.first_seq)
        if len(self.taken) == 1:
            asyncio.get_running_loop().call_soon(self._fail, connection)

    def _fail(self, connection: Connection) -> None:
        self._room.set()
        connection.close(WorldError("can't write"))

    def store_loss(self, connection: Connection, lost: Lost) -> None:
        raise AssertionError("no loss was sent")

    def repeated(self, events: int) -> None:
        raise AssertionError("nothing was repeated")

    def touched(self, connection: Connection) -> None:
        raise AssertionError("no heartbeat was sent")

    async def room(self) -> None:
        await self._room.wait()


async def test_nothing_is_taken_behind_a_batch_that_failed() -> None:
    intake = FailingIntake()
    hello = Hello("camera-7", "1", STREAM, 0)
    session = HubSession(hello, session_id="s", credit_bytes=1 << 20, marks=Watermarks())
    connection = Connection(session, intake, now_s=0.0, ack_delay_s=0.0)
    arrived = [EventBatch(STREAM, seq, 1, EventKind.AUDIT, PayloadCodec.NONE, b"x") for seq in range(3)]

    async def receive() -> AgentMessage | None:
        return arrived.pop(0) if arrived else None

    async def send(_message: HubMessage) -> None:
        return None

    with pytest.raises(WorldError, match="can't write"):
        await connection.run(Welcome("s", "r", "h", 1.0, 1 << 20, 0, ()), receive, send)
    assert intake.taken == [0]
