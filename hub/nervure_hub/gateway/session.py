"""What the hub decides about one agent's frames; plain data in, plain data out.

Rules
    1. The first frame is checked by ``greet`` before a session exists; the agent's protocol must be ours.
    2. Credits bound what is in flight: an agent may send a batch while any credit is left, so it overdraws by less than
       one frame, and gets back exactly what became durable or was dropped. An agent that sends more breaks the contract.
    3. Acknowledgements are coalesced: ``due`` returns at most one Ack a stream and one Credit, whatever piled up.
    4. No frame is answered before its bytes are durable; a repeat is acknowledged at once, if what it repeats is.

The order for a shell: ``greet`` → ``HubSession`` → ``take_events``/``take_frame`` for what comes, ``became_durable`` when
the journal says so, ``due`` when it is time to write, ``end``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nervure_core.errors import ConfigurationError, PeerError
from nervure_core.events import EventBatch
from nervure_core.ids import STREAM_ID_BYTES, check_name
from nervure_core.messages import PROTOCOL, Ack, Credit, Hello, HubMessage, Lost, Refused
from nervure_hub.gateway.session_states import SessionEvent, SessionState, SessionViolation, step
from nervure_hub.gateway.watermarks import StreamKey, Taken, Watermarks

_MAX_LABELS = 64
_MAX_LABEL_CHARACTERS = 256


class CreditExceeded(PeerError):
    """An agent sent more payload than it had credit for.

    Attributes:
        agent_id: Which agent.
    """

    code = "credit"

    def __init__(self, agent_id: str, over_bytes: int) -> None:
        super().__init__(f"agent {agent_id} sent {over_bytes} bytes more than its credit")
        self.agent_id = agent_id


@dataclass(frozen=True, slots=True)
class Admission:
    """What the gateway knows when an agent knocks."""

    sessions: int
    max_sessions: int
    draining: bool


def greet(first: object, admission: Admission) -> Refused | None:
    """Return why the agent is not taken, or None when it is.

    Args:
        first: The agent's first frame, whatever it is.
        admission: The gateway's situation.
    """
    if not isinstance(first, Hello):
        return Refused("malformed", f"the first frame must be Hello, not {type(first).__name__}")
    if first.protocol != PROTOCOL:
        return Refused("protocol", f"this hub speaks protocol {PROTOCOL}, the agent speaks {first.protocol}")
    if admission.draining:
        return Refused("draining", "this gateway is stopping")
    try:
        check_name("agent id", first.agent_id)
        if first.home_region:
            check_name("home region", first.home_region)
    except ConfigurationError as error:
        return Refused("agent_id", f"{error.message}; {error.hint}")
    if len(first.stream_id) != STREAM_ID_BYTES:
        return Refused("malformed", f"stream id has {len(first.stream_id)} bytes, not {STREAM_ID_BYTES}")
    if len(first.labels) > _MAX_LABELS or any(
        len(text) > _MAX_LABEL_CHARACTERS for item in first.labels.items() for text in item
    ):
        return Refused("malformed", f"at most {_MAX_LABELS} labels of {_MAX_LABEL_CHARACTERS} characters")
    if admission.sessions >= admission.max_sessions:
        return Refused("busy", f"this gateway holds {admission.sessions} sessions, which is its bound")
    return None


class HubSession:
    """One greeted agent.

    Args:
        hello: Its first frame.
        session_id: New for every connection.
        credit_bytes: Payload it may have in flight.
        marks: The gateway's watermarks, shared by all its sessions.
    """

    __slots__ = (
        "_credit_bytes",
        "_freed_bytes",
        "_in_flight_bytes",
        "_marks",
        "_unacked",
        "hello",
        "session_id",
        "state",
    )

    def __init__(self, hello: Hello, *, session_id: str, credit_bytes: int, marks: Watermarks) -> None:
        self.hello = hello
        self.session_id = session_id
        self.state = step(SessionState.GREETING, SessionEvent.WELCOMED)
        self._credit_bytes = credit_bytes
        self._marks = marks
        self._in_flight_bytes = 0
        self._freed_bytes = 0
        self._unacked: set[bytes] = set()

    def __repr__(self) -> str:
        return (
            f"<HubSession {self.session_id} of {self.hello.agent_id}, {self.state.value}, "
            f"{self._in_flight_bytes} bytes in flight>"
        )

    @property
    def in_flight_bytes(self) -> int:
        """Payload handed to the journal and not yet durable."""
        return self._in_flight_bytes

    def key(self, stream_id: bytes) -> StreamKey:
        """Return the name of one of this agent's streams."""
        return StreamKey(self.hello.agent_id, stream_id)

    def take_events(self, batch: EventBatch) -> Taken:
        """Decide about a batch; NEW and OVERLAP go to the journal, then ``became_durable`` is due.

        Raises:
            SessionViolation: No events may come now.
            CreditExceeded: The agent had no credit for it.
        """
        self.state = step(self.state, SessionEvent.FRAME)
        size = len(batch.payload)
        outstanding = self._in_flight_bytes + self._freed_bytes
        if outstanding >= self._credit_bytes:
            raise CreditExceeded(self.hello.agent_id, outstanding + size - self._credit_bytes)
        taken = self._marks.accept(self.key(batch.stream_id), batch.first_seq, batch.end_seq)
        if taken is Taken.REPEAT:
            self._freed_bytes += size
            self._unacked.add(batch.stream_id)
        else:
            self._in_flight_bytes += size
        return taken

    def take_loss(self, lost: Lost) -> Taken:
        """Decide about a report of loss; what is not a REPEAT goes to the journal, then ``became_durable`` is due.

        Raises:
            SessionViolation: None may come now.
        """
        self.take_frame()
        taken = self._marks.accept(self.key(lost.stream_id), lost.from_seq, lost.to_seq)
        if taken is Taken.REPEAT:
            self._unacked.add(lost.stream_id)
        return taken

    def take_frame(self) -> None:
        """Note any frame but Hello, events, losses and Goodbye.

        Raises:
            SessionViolation: None may come now.
        """
        self.state = step(self.state, SessionEvent.FRAME)

    def became_durable(self, stream_id: bytes, size_bytes: int) -> None:
        """Note that a batch of this stream is on disk; ``size_bytes`` is 0 when another session sent it."""
        self._in_flight_bytes -= size_bytes
        self._freed_bytes += size_bytes
        self._unacked.add(stream_id)

    def presses(self) -> bool:
        """Return True when credit should go back now rather than in company: the agent may be waiting for it."""
        return self._freed_bytes * 4 >= self._credit_bytes

    def due(self) -> tuple[HubMessage, ...]:
        """Return the acknowledgements and the credit to send now, and forget them."""
        if not self._unacked and not self._freed_bytes:
            return ()
        messages: list[HubMessage] = []
        for stream_id in sorted(self._unacked):
            durable = self._marks.durable(self.key(stream_id))
            if durable:
                messages.append(Ack(stream_id, durable))
        self._unacked.clear()
        if self._freed_bytes:
            messages.append(Credit(self._freed_bytes))
            self._freed_bytes = 0
        return tuple(messages)

    def drain(self) -> bool:
        """Note that the agent is asked to move; return whether it still can be asked."""
        asked = self.state is SessionState.OPEN
        self.state = step(self.state, SessionEvent.DRAIN)
        return asked

    def goodbye(self) -> None:
        """Note the agent's Goodbye.

        Raises:
            SessionViolation: It has said so before.
        """
        self.state = step(self.state, SessionEvent.GOODBYE)

    def end(self) -> None:
        """Note the end of the stream; safe to call again."""
        self.state = step(self.state, SessionEvent.ENDED)

    def reports(self, *, examples: int) -> None:
        """Remember what the agent says of itself after its Hello."""
        if examples != self.hello.examples:
            self.hello = replace(self.hello, examples=examples)


__all__ = ["Admission", "CreditExceeded", "HubSession", "SessionViolation", "greet"]
