"""One agent machine: the real spool, the real session and the real group commit, and an owner who kills it.

Rules: what a process knows dies with it; only its disk stays. A dead process can neither write nor send, from the very
operation in which it dies.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nervure_core.errors import WorldError
from nervure_core.events import Event, EventBatch, EventKind
from nervure_core.messages import AgentMessage, AgentStatus, Desired, Hello, HubMessage, Lost, TaskOrder
from nervure_edge.changes import Changes
from nervure_edge.config import SessionSettings
from nervure_edge.session import Link, SessionRunner
from nervure_edge.spool import Spool
from nervure_edge.syncing import keep_durable
from nervure_simulations.faults.disk import MemoryDisk, Mount
from nervure_simulations.faults.ledger import Book
from nervure_simulations.faults.loop import NodeClock

if TYPE_CHECKING:
    from nervure_simulations.faults.world import World

SPOOL = Path("/agent/spool")
_KINDS = tuple(EventKind)


class AgentNode:
    """One agent's machine.

    Args:
        name: Of the agent.
        world: Where it lives.
        rng: What it makes, and when.
    """

    def __init__(self, name: str, world: World, rng: random.Random) -> None:
        self.name = name
        self.world = world
        self.rng = rng
        self.disk = MemoryDisk(random.Random(f"{world.seed}/disk/{name}"))
        self.clock = NodeClock(world.clock)
        self.book = Book(name, world.violation)
        self.producing = True
        self.process: AgentProcess | None = None
        self.pause_s = 0.0
        """How long it stays down after its next end."""
        self.bytes_at_start = 0
        """A power cut may bring segments back that were removed: what a process finds is not its doing."""
        self._made = 0

    @property
    def up(self) -> bool:
        """Whether a process runs."""
        return self.process is not None

    async def live(self) -> None:
        """Run one process after the other, for ever."""
        while True:
            process = AgentProcess(self)
            self.process = process
            try:
                await process.run()
            except WorldError as error:
                self.world.trace(self.name, f"could not go on: {error.message.partition(':')[2].strip()}")
                process.kill()
            self.process = None
            await self.clock.sleep(max(self.pause_s, 0.05))
            self.pause_s = 0.0
            self.world.trace(self.name, "starts")

    def crash(self, *, power: bool) -> None:
        """Kill the process, or cut the machine's power."""
        process = self.process
        if process is None or process.mount.dead:
            return
        self.world.trace(self.name, "loses its power" if power else "is killed")
        process.kill()
        if power:
            self.disk.power_cut()
        self.world.network.cut_all(self.name, silently=power and self.rng.random() < 0.5)

    def next_events(self) -> list[Event]:
        """Return what the sensor saw now; every event has a text of its own."""
        events: list[Event] = []
        for _ in range(self.rng.randint(1, 6)):
            self._made += 1
            detail = "{}" if self.rng.random() < 0.8 else f'{{"pad":"{self.rng.getrandbits(1600):0400x}"}}'
            text = f"{self.name}/{self._made}"
            events.append(Event(int(self.clock.wall_s() * 1e6), "sim", text, "", 0.5, "none", "m", 1, 1.0, detail))
        return events

    def draw_kind(self) -> EventKind:
        """Return a kind of event."""
        return self.rng.choice(_KINDS)


class AgentProcess:
    """One life of an agent; the session's handler."""

    def __init__(self, node: AgentNode) -> None:
        self._node, self._world = node, node.world
        self.mount = Mount(node.disk, self._crashed)
        self.spool: Spool | None = None
        self.runner: SessionRunner | None = None
        self._over = asyncio.Event()
        self._stopping = False
        self._power = False

    def die_in(self, operations: int, *, power: bool) -> None:
        """Die in the middle of one of the next operations on the disk."""
        self.mount.crash_in, self._power = operations, power

    def _crashed(self) -> None:
        self._node.crash(power=self._power)

    def kill(self) -> None:
        """End at once."""
        if self.spool is not None and not self.mount.dead:
            self._node.book.crashed(self.spool.stream_id, self.spool.durable_seq)
        self.mount.kill()
        self._over.set()

    def stop(self) -> None:
        """Ask for an end in order."""
        self._stopping = True
        if self.runner is not None:
            self.runner.stop()

    async def run(self) -> None:
        """Live until killed or stopped.

        Raises:
            WorldError: The spool can't be opened.
        """
        plan, node, world = self._world.plan, self._node, self._world
        node.bytes_at_start = node.disk.used_bytes
        spool = self.spool = world.parts.spool(
            SPOOL,
            quota_bytes=plan.spool_quota_bytes,
            segment_bytes=plan.spool_segment_bytes,
            monotonic_s=node.clock.monotonic_s,
            disk=self.mount,
        )
        node.book.restarted(spool.stream_id, spool.next_seq)
        changes = Changes()
        runner = self.runner = SessionRunner(
            SessionSettings(connect_timeout_s=2.0, backoff_base_s=0.2, backoff_cap_s=2.0, silence_s=3.0),
            world.hub_order(node.name),
            spool,
            self,
            dial=lambda hub: _WatchedLink(world.network.dialer(node.name, self._alive)(hub), node.book, spool),
            clock=node.clock,
            changes=changes,
            rng=random.Random(f"{world.seed}/jitter/{node.name}/{world.trace.steps}"),
        )
        if self._stopping:
            runner.stop()
        works: tuple[Coroutine[Any, Any, object], ...] = (
            runner.run(),
            self._over.wait(),
            keep_durable(spool, changes, node.clock, _in_thread, runner.wake, plan.sync_interval_s),
            self._produce(spool, changes),
        )
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                failure = task.exception() if task.done() else None
                if failure is not None and not self.mount.dead:
                    world.violation(f"{node.name}: {type(failure).__name__}: {failure}")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not self.mount.dead:
            spool.close()
            node.book.crashed(spool.stream_id, spool.durable_seq)
            self.mount.kill()
            world.trace(node.name, "has stopped in order")

    def _alive(self) -> bool:
        return not self.mount.dead

    async def _produce(self, spool: Spool, changes: Changes) -> None:
        node = self._node
        while True:
            await node.clock.sleep(node.rng.expovariate(self._world.plan.batches_per_s))
            if not node.producing or self._stopping:
                continue
            events, kind, first = node.next_events(), node.draw_kind(), spool.next_seq
            kept = spool.append(kind, events)
            texts = [event.subject for event in events]
            if self.mount.dead:
                # It died in this very step: what it had written by then may turn up again, or not.
                node.book.appended(spool.stream_id, first=first, texts=texts, kept=True)
                return
            self._world.trace(node.name, f"{'keeps' if kept else 'drops'} {kind.value} [{first}, {spool.next_seq})")
            node.book.appended(spool.stream_id, first=first, texts=texts, kept=kept)
            node.book.numbered(spool.stream_id, spool.next_seq)
            changes.notify()

    # What the session asks

    def hello(self) -> Hello:
        spool = self.spool
        if spool is None:
            raise WorldError("no spool")
        return Hello(self._node.name, "sim", spool.stream_id, spool.next_seq)

    def status(self) -> AgentStatus:
        return AgentStatus()

    def desired(self, desired: Desired) -> None:
        """Nothing is deployed here."""

    def order(self, order: TaskOrder) -> None:
        """Nothing is trained here."""


class _WatchedLink:
    """A link whose traffic the book checks."""

    def __init__(self, link: Link, book: Book, spool: Spool) -> None:
        self._link, self._book, self._spool = link, book, spool
        self.ready, self.finish, self.close, self.fetch = link.ready, link.finish, link.close, link.fetch

    async def send(self, message: AgentMessage) -> None:
        if isinstance(message, EventBatch):
            self._book.sent(message.stream_id, message.end_seq, self._spool.durable_seq)
        elif isinstance(message, Lost):
            self._book.sent(message.stream_id, message.to_seq, self._spool.durable_seq)
        await self._link.send(message)

    async def receive(self) -> HubMessage | None:
        self._book.acknowledged(self._spool.stream_id, self._spool.acknowledged_seq)
        return await self._link.receive()


def _in_thread(work: Callable[[], int]) -> Awaitable[int]:
    return asyncio.get_running_loop().run_in_executor(None, work)
