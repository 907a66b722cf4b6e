"""Links between agents and gateways that delay, stall, lose their tail, break, and break without telling.

Rules:
- A stream delivers in order or not at all, as HTTP/2 over TCP does; what the ends see of a cut differs: some of what
  was on its way still arrives, and an end may learn of it late (a half-open connection), even after a newer one works.
- A partition holds everything between two machines; when it heals, what was held goes on or the connection breaks.
- The agents' end is ``nervure_edge.session.Link``, the hubs' end what ``GatewayServer.serve_session`` takes.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from nervure_core.messages import AgentMessage, HubMessage
from nervure_edge.session import LinkDownError
from nervure_hub.gateway.service import StreamCut
from nervure_simulations.faults.trace import Trace, words

_IN_FLIGHT = 8
"""Frames a sender may have on its way before it waits."""


class _End:
    """The last thing on a way: in order (eof) or broken."""

    def __init__(self, *, broken: bool) -> None:
        self.broken = broken


class Way:
    """One direction of a stream.

    Args:
        network: Draws delays.
        name: For the trace.
    """

    def __init__(self, network: Network, name: str) -> None:
        self._network = network
        self._loop = asyncio.get_running_loop()
        self._name = name
        self._flying: deque[object] = deque()
        self._arrived: deque[object] = deque()
        self._moved: asyncio.Future[None] | None = None
        self._last_due_s = 0.0
        self._late = 0
        self._held = False
        self.closed = False
        """Whether the sender can't send any more."""

    async def send(self, message: object) -> bool:
        """Send in order; return False when the sender knows that nobody listens."""
        while len(self._flying) >= _IN_FLIGHT and not self.closed:
            await self._wait()
        if self.closed:
            return False
        self._push(message, self._network.delay_s())
        if self._network.repeats(message):
            self._push(message, self._network.delay_s())
        return True

    def end(self, *, broken: bool, delay_s: float = 0.0, dropping: bool = False) -> None:
        """Send the end after what is on its way, or after a part of that."""
        if self.closed and not dropping:
            return
        self.closed = True
        if dropping and self._flying:
            kept = self._network.rng.randint(0, len(self._flying))
            while len(self._flying) > kept:
                self._flying.pop()
        self._push(_End(broken=broken), delay_s)
        self._wake()

    async def receive(self) -> object:
        """Return the next message or the end, which stays."""
        while not self._arrived:
            await self._wait()
        first = self._arrived[0]
        if not isinstance(first, _End):
            self._arrived.popleft()
        return first

    def hold(self) -> None:
        """Deliver nothing for now."""
        self._held = True

    def release(self) -> None:
        """Deliver what was held."""
        self._held = False
        late, self._late = self._late, 0
        for _ in range(late):
            self._arrive()

    def _push(self, item: object, delay_s: float) -> None:
        self._last_due_s = max(self._last_due_s, self._loop.time() + delay_s)
        self._flying.append(item)
        self._loop.call_at(self._last_due_s, self._arrive)

    def _arrive(self) -> None:
        if self._held:
            self._late += 1
            return
        if not self._flying or (self._arrived and isinstance(self._arrived[-1], _End)):
            return
        item = self._flying.popleft()
        self._arrived.append(item)
        if isinstance(item, _End):
            self._network.trace(self._name, "broken" if item.broken else "ended")
        else:
            self._network.trace(self._name, words(item))
        self._wake()

    async def _wait(self) -> None:
        if self._moved is None or self._moved.done():
            self._moved = self._loop.create_future()
        # Both ends may wait on it, and one of them may be cancelled.
        await asyncio.shield(self._moved)

    def _wake(self) -> None:
        if self._moved is not None and not self._moved.done():
            self._moved.set_result(None)


class Wire:
    """One stream between an agent and a gateway."""

    def __init__(self, network: Network, agent: str, hub: str) -> None:
        self.agent, self.hub = agent, hub
        self.up = Way(network, f"{agent} > {hub}")
        self.down = Way(network, f"{agent} < {hub}")
        self._network = network

    def cut(self) -> None:
        """Break it somewhere between the ends, which learn of it each in its own time."""
        network = self._network
        self.up.end(broken=True, delay_s=network.notice_s(), dropping=True)
        self.down.end(broken=True, delay_s=network.notice_s(), dropping=True)
        network.wires.pop(self, None)

    def hold(self) -> None:
        self.up.hold()
        self.down.hold()

    def release(self) -> None:
        self.up.release()
        self.down.release()


class Acceptor(Protocol):
    """A gateway's door."""

    up: bool

    def accept(self, stream: HubStream) -> None:
        """Serve a stream."""
        ...


class Network:
    """Everything between agents and hubs.

    Args:
        rng: Draws delays and what breaks.
        trace: Hears of every delivery.
    """

    def __init__(self, rng: random.Random, trace: Trace) -> None:
        self.rng = rng
        self.trace = trace
        self.slowness_s = 0.002
        self.repeat_share = 0.0
        self.half_open_share = 0.0
        self.doors: dict[str, list[Acceptor]] = {}
        self.wires: dict[Wire, None] = {}
        self._apart: dict[tuple[str, str], asyncio.Event] = {}

    def delay_s(self) -> float:
        """Return how long a frame takes."""
        return self.rng.expovariate(1.0 / self.slowness_s)

    def notice_s(self) -> float:
        """Return how late an end learns that a connection broke."""
        if self.rng.random() < self.half_open_share:
            return self.rng.uniform(0.5, 8.0)
        return self.delay_s()

    def repeats(self, message: object) -> bool:
        """Return whether a frame is delivered twice: only events and losses may be, the rest is the protocol's own."""
        repeatable = type(message).__name__ in ("EventBatch", "Lost")
        return repeatable and self.repeat_share > 0 and self.rng.random() < self.repeat_share

    def part(self, agent: str, hub: str) -> None:
        """Hold everything between two machines."""
        self._apart.setdefault((agent, hub), asyncio.Event())
        for wire in self._between(agent, hub):
            wire.hold()

    def heal(self, agent: str, hub: str) -> None:
        """Let them talk again; what was held goes on, or its connection is broken."""
        healed = self._apart.pop((agent, hub), None)
        if healed is None:
            return
        healed.set()
        for wire in self._between(agent, hub):
            wire.release()
            if self.rng.random() < 0.5:
                wire.cut()

    def heal_all(self) -> None:
        """Let everybody talk to everybody."""
        for agent, hub in list(self._apart):
            self.heal(agent, hub)

    def cut_all(self, machine: str, *, silently: bool = False) -> None:
        """Break every connection of a machine; silently, when it lost its power and can't say so."""
        for wire in [wire for wire in self.wires if machine in (wire.agent, wire.hub)]:
            if silently:
                # Nothing arrives any more, either way; only missing heartbeats tell.
                wire.hold()
                self.wires.pop(wire)
            else:
                wire.cut()

    def _between(self, agent: str, hub: str) -> list[Wire]:
        return [wire for wire in self.wires if wire.agent == agent and wire.hub.partition("/")[0] == hub]

    def dialer(self, agent: str, alive: Callable[[], bool]) -> Callable[[str], AgentLink]:
        """Return what makes the links of one agent process."""
        return lambda hub: AgentLink(self, agent, hub, alive)

    async def reach(self, agent: str, hub: str) -> Acceptor:
        """Return a gateway of a hub once it is reached.

        Raises:
            LinkDownError: None is there.
        """
        while (apart := self._apart.get((agent, hub))) is not None:
            await apart.wait()
        await asyncio.sleep(self.delay_s())
        doors = [door for door in self.doors.get(hub, []) if door.up]
        if not doors:
            raise LinkDownError(f"{hub} cannot be reached")
        return self.rng.choice(doors)


class AgentLink:
    """The agent's end."""

    def __init__(self, network: Network, agent: str, hub: str, alive: Callable[[], bool]) -> None:
        self._network, self._agent, self._hub, self._alive = network, agent, hub, alive
        self._door: Acceptor | None = None
        self._wire: Wire | None = None

    async def ready(self) -> None:
        self._door = await self._network.reach(self._agent, self._hub)

    async def send(self, message: AgentMessage) -> None:
        if not self._alive():
            raise LinkDownError("this process is dead")
        if self._wire is None:
            if self._door is None or not self._door.up:
                raise LinkDownError(f"{self._hub} is gone")
            name = getattr(self._door, "name", "")
            self._wire = Wire(self._network, self._agent, f"{self._hub}/{name}")
            self._network.wires[self._wire] = None
            self._door.accept(HubStream(self._network, self._wire))
        if not await self._wire.up.send(message):
            raise LinkDownError(f"the stream to {self._hub} was cut")

    async def receive(self) -> HubMessage | None:
        if self._wire is None:
            raise LinkDownError("nothing was sent yet")
        message = await self._wire.down.receive()
        if isinstance(message, _End):
            self._wire.up.closed = True
            if message.broken:
                raise LinkDownError(f"the stream from {self._hub} was cut")
            return None
        return message  # type: ignore[return-value]  # a way carries what was put on it

    async def finish(self) -> None:
        if self._wire is not None:
            self._wire.up.end(broken=False, delay_s=self._network.delay_s())

    async def fetch(self, sha256: str, offset: int) -> AsyncIterator[bytes]:
        raise LinkDownError(f"no artifacts here: {sha256} from {offset}")
        yield b""  # makes this a generator

    async def close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None and wire in self._network.wires and self._alive():
            self._network.wires.pop(wire)
            wire.up.end(broken=True, delay_s=self._network.notice_s())
            wire.down.closed = wire.down.closed or self._network.rng.random() < 0.5


class HubStream:
    """The gateway's end."""

    def __init__(self, network: Network, wire: Wire) -> None:
        self._network, self.wire = network, wire

    @property
    def peer(self) -> str:
        return self.wire.agent

    async def receive(self) -> AgentMessage | None:
        message = await self.wire.up.receive()
        if isinstance(message, _End):
            if message.broken:
                raise StreamCut(f"the stream from {self.peer} was cut")
            return None
        return message  # type: ignore[return-value]  # a way carries what was put on it

    async def send(self, message: HubMessage) -> None:
        if not await self.wire.down.send(message):
            raise StreamCut(f"the stream from {self.peer} was cut")

    def end(self, *, broken: bool) -> None:
        """End the stream from here."""
        self._network.wires.pop(self.wire, None)
        self.wire.down.end(broken=broken, delay_s=self._network.delay_s())
