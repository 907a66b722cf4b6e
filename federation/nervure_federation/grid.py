"""``SessionGrid``: Flower's grid over the sessions of our agents, for one round of one run.

Rules:

1. The nodes are frozen when the grid is made: strategies ask for them twice and must see the same set. An empty set
   raises at once, because Flower would wait for ever.
2. A grid is used from a worker thread (Flower is synchronous); the transport lives in the event loop. The only bridge is
   ``run_coroutine_threadsafe``, and what crosses it is frozen.
3. Every message is copied and stamped with the run, the round and an id of its own, so strategies that share one record
   between messages, and runs that share one process, can't mix.
4. How long an exchange waits is `nervure_federation.exchange`. Fewer good replies than the quorum raise `QuorumMissed`.
5. A strategy sees good replies only: errors, unreadable contents and whatever the gatekeeper refuses end in
   ``refused``, by name. What it sees is sorted by node, so a rerun gives equal bits.
6. Bytes are counted on the contents that really went through the transport.

>>> grid = SessionGrid(roster, transport, loop, clock, gate)
>>> replies = grid.send_and_receive(strategy.configure_train(1, arrays, config, grid))
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from typing import NoReturn

from nervure_core.clock import Clock
from nervure_core.codec import decode_content
from nervure_core.errors import ConfigurationError, InternalError, NervureError, PeerError
from nervure_core.messages import TaskKind, TaskOrder
from nervure_federation.exchange import Patience, collect
from nervure_federation.flower import (
    Grid,
    Message,
    MetricRecord,
    RecordDict,
    Run,
    content_of,
    record_of,
    reply_to,
    stamped,
    to_array_record,
)
from nervure_federation.gatekeeper import Refusal, Sifted, Update
from nervure_hub.context import AgentTransport, TaskReply

ARRAYS = "arrays"
METRICS = "metrics"
"""Names of the records in a task's content: Flower's defaults."""

Gate = Callable[[Sequence[Update], Mapping[str, TaskOrder]], Sifted]
"""Splits the updates of one exchange; the second argument is the order that each agent was given."""


class QuorumMissed(PeerError):
    """Too few agents answered usably in time.

    Attributes:
        needed: How many would have been enough.
        refused: Who did not count, and why.
    """

    code = "quorum-missed"

    def __init__(self, needed: int, good: int, refused: Sequence[Refusal]) -> None:
        reasons = "; ".join(str(refusal) for refusal in refused[:5])
        super().__init__(
            f"{good} usable replies, {needed} needed" + (f" ({reasons})" if reasons else ""),
            hint="lower the quorum, give more time, or look at the agents named",
        )
        self.needed = needed
        self.refused = tuple(refused)


class Abandoned(PeerError):
    """Nobody waits for this round any more."""

    code = "abandoned"


class NoNodes(PeerError):
    """A round was given no agent."""

    code = "no-nodes"


def node_id(agent_id: str) -> int:
    """Return the node id under which Flower knows an agent: stable, positive, 63 bits.

    >>> node_id("cam-1") == node_id("cam-1") > 1
    True
    """
    # 2 and up: Flower keeps 0 and 1 for itself.
    return max(int.from_bytes(hashlib.sha256(agent_id.encode()).digest()[:8], "big") >> 1, 2)


@dataclass(frozen=True, slots=True)
class Roster:
    """Who takes part in one round of one run.

    Args:
        run_id: The run.
        round_number: The round.
        agents: The frozen set of agents.
        patience: How long to wait for them.
    """

    run_id: str
    round_number: int
    agents: tuple[str, ...]
    patience: Patience

    @property
    def run_number(self) -> int:
        """The number under which Flower knows the run."""
        return node_id(f"run:{self.run_id}")


@dataclass(slots=True)
class Traffic:
    """What went through the transport, counted on the contents themselves."""

    bytes_down: int = 0
    bytes_up: int = 0
    messages_down: int = 0
    messages_up: int = 0
    bytes_up_by_agent: dict[str, int] = field(default_factory=dict[str, int])

    def count_up(self, reply: TaskReply) -> None:
        """Count a reply that brought a content."""
        size = len(reply.content)
        self.messages_up += 1
        self.bytes_up += size
        self.bytes_up_by_agent[reply.agent_id] = self.bytes_up_by_agent.get(reply.agent_id, 0) + size


class SessionGrid(Grid):
    """Flower's grid over agent sessions; see the module's rules.

    Args:
        roster: The run, the round, the agents and the limits.
        transport: The way to the agents, used in ``loop``.
        loop: The running event loop of the transport; never the thread that calls the grid.
        clock: Measures deadlines.
        gate: Lets updates through or not; None lets every readable reply through unchanged.

    Raises:
        ConfigurationError: Two agents of the set have the same node id.
    """

    def __init__(
        self,
        roster: Roster,
        transport: AgentTransport,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        gate: Gate | None = None,
    ) -> None:
        self.roster = roster
        self.traffic = Traffic()
        self.refused: list[Refusal] = []
        self._transport = transport
        self._loop = loop
        self._clock = clock
        self._gate = gate
        self._open: Future[list[TaskReply]] | None = None
        self._abandoned = False
        self._agents = {node_id(agent): agent for agent in roster.agents}
        if len(self._agents) != len(set(roster.agents)):
            raise ConfigurationError("two agents of one round share a node id", hint="rename one of them")

    def __repr__(self) -> str:
        return (
            f"<SessionGrid {self.roster.run_id} round {self.roster.round_number}: {len(self._agents)} nodes, "
            f"{self.traffic.messages_up}/{self.traffic.messages_down} replies, {len(self.refused)} refused>"
        )

    # What strategies call:

    def get_node_ids(self) -> Iterable[int]:
        """Return the frozen node ids, in order.

        Raises:
            NoNodes: There are none.
        """
        if not self._agents:
            raise NoNodes(f"run {self.roster.run_id} round {self.roster.round_number} has no agents")
        return sorted(self._agents)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send each node its message and return the good replies, sorted by node.

        Args:
            messages: Instructions, at most one a node.
            timeout: Seconds; the roster's deadline holds where it is shorter or this is None.

        Raises:
            QuorumMissed: Fewer good replies than the quorum.
            InternalError: Called from the event loop's own thread, or a message goes to a node that is not here.
        """
        sent = self._stamp(messages)
        if not sent:
            return []
        patience = self.roster.patience
        if timeout is not None:
            patience = replace(patience, deadline_s=min(patience.deadline_s, timeout))
        orders = {agent: self._order(message, patience.deadline_s) for agent, message in sent.items()}
        good = self._sift(self._bridge(orders, patience), orders)
        if len(good) < patience.quorum:
            raise QuorumMissed(patience.quorum, len(good), self.refused)
        answers = [reply_to(sent[agent], record) for agent, record in good.items()]
        return sorted(answers, key=lambda answer: answer.metadata.src_node_id)

    def agent_of(self, reply: Message) -> str:
        """Return the agent that a reply is from."""
        return self._agents[reply.metadata.src_node_id]

    def _stamp(self, messages: Iterable[Message]) -> dict[str, Message]:
        sent: dict[str, Message] = {}
        for message in messages:
            destination = message.metadata.dst_node_id
            agent = self._agents.get(destination)
            if agent is None or agent in sent:
                raise InternalError(f"a strategy addressed node {destination}, which is unknown or addressed twice")
            kind = message.metadata.message_type
            sent[agent] = stamped(
                message,
                run=self.roster.run_number,
                message_id=f"{self.roster.run_id}/{self.roster.round_number}/{kind}/{agent}",
                group=str(self.roster.round_number),
            )
        return sent

    def _order(self, message: Message, deadline_s: float) -> TaskOrder:
        content = content_of(message.content)
        self.traffic.bytes_down += len(content)
        self.traffic.messages_down += 1
        return TaskOrder(
            task_id=message.metadata.message_id,
            run_id=self.roster.run_id,
            kind=TaskKind(message.metadata.message_type),
            round=self.roster.round_number,
            deadline_s=deadline_s,
            content=content,
        )

    def _bridge(self, orders: Mapping[str, TaskOrder], patience: Patience) -> list[TaskReply]:
        """Run the exchange in the loop and wait for it here, in the worker thread."""
        if _running_loop() is self._loop:
            raise InternalError("SessionGrid was called from the event loop that it waits for")
        exchange = collect(self._transport, orders, patience, self._clock)
        self._open = future = asyncio.run_coroutine_threadsafe(exchange, self._loop)
        if self._abandoned:
            future.cancel()
        try:
            return future.result()
        except CancelledError as error:
            raise Abandoned(f"run {self.roster.run_id} round {self.roster.round_number} was abandoned") from error

    def abandon(self) -> None:
        """End the exchange under way, and any later one: the worker thread gets `Abandoned`. Safe from any thread."""
        # The flag first: a bridge that is being built now sees it after it has stored its future.
        self._abandoned = True
        if self._open is not None:
            self._open.cancel()

    def _sift(self, replies: Sequence[TaskReply], orders: Mapping[str, TaskOrder]) -> dict[str, RecordDict]:
        readable: dict[str, RecordDict] = {}
        updates: list[Update] = []
        for reply in replies:
            if not reply.ok:
                self.refused.append(Refusal(reply.agent_id, "error", reply.error or "the agent reported an error"))
                continue
            self.traffic.count_up(reply)
            try:
                if self._gate is None:
                    readable[reply.agent_id] = record_of(reply.content)
                else:
                    updates.append(_update(reply))
            except NervureError as error:
                self.refused.append(Refusal(reply.agent_id, "unreadable", error.message))
        if self._gate is None:
            return readable
        sifted = self._gate(updates, orders)
        self.refused.extend(sifted.refused)
        return {update.agent_id: _record(update) for update in sifted.accepted}

    # The rest of Flower's interface:

    @property
    def run(self) -> Run:
        return Run.create_empty(self.roster.run_number)

    def set_run(self, run: Run) -> None:
        _not_here("set_run")

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        _not_here("push_messages")

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        _not_here("pull_messages")


def _not_here(name: str) -> NoReturn:
    # No built-in strategy calls these: a grid is bound to one run, and replies exist only within an exchange.
    raise InternalError(f"SessionGrid has no {name}: use send_and_receive")


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _update(reply: TaskReply) -> Update:
    """Decode a reply for the gatekeeper.

    Raises:
        PeerError: It is no content, or has more than one record of arrays, or not exactly one of metrics.
    """
    content = decode_content(reply.content)
    if len(content.arrays) > 1 or len(content.metrics) != 1:
        raise PeerError(
            f"a reply has one record of metrics and at most one of arrays; this has {len(content.metrics)} "
            f"and {len(content.arrays)}"
        )
    arrays = next(iter(content.arrays.values()), {})
    return Update(reply.agent_id, reply.task_id, arrays, next(iter(content.metrics.values())))


def _record(update: Update) -> RecordDict:
    # Built anew from what the gatekeeper let through: nothing it has not looked at can reach a strategy.
    record = RecordDict({METRICS: MetricRecord(dict(update.metrics))})
    if update.arrays:
        record[ARRAYS] = to_array_record(update.arrays)
    return record
