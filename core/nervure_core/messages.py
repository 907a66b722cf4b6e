"""The session's frames in the words of the domain; ``nervure_core.codec`` turns them into bytes and back.

The first frame of an agent is ``Hello``, the hub's first is ``Welcome`` or ``Refused``. ``EventBatch`` is a frame too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from nervure_core.events import EventBatch
from nervure_core.latency import LatencyHistogram

PROTOCOL = 1
"""The version of the wire contract that this code speaks."""
MAX_FRAME_BYTES = 1024 * 1024
MAX_PART_BYTES = 256 * 1024
"""Largest slice of a task's content, and largest chunk of an artifact."""


class TaskKind(StrEnum):
    """Kinds of tasks; the words are Flower's message types."""

    TRAIN = "train"
    EVALUATE = "evaluate"
    QUERY = "query"


class DeploymentState(StrEnum):
    """How far an agent got with an assignment."""

    FETCHING = "fetching"
    RUNNING = "running"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Running:
    """The model an agent runs; all empty when it has none."""

    name: str = ""
    release: int = 0
    bundle_id: str = ""


@dataclass(frozen=True, slots=True)
class Hello:
    """An agent introduces itself."""

    agent_id: str
    version: str
    stream_id: bytes
    next_seq: int
    labels: dict[str, str] = field(default_factory=dict[str, str])
    home_region: str = ""
    workload: str = ""
    running: Running = field(default_factory=Running)
    can_train: bool = False
    examples: int = 0
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """What an agent says of itself; counters since its process started."""

    running: Running = field(default_factory=Running)
    events_produced: int = 0
    events_acknowledged: int = 0
    events_lost: int = 0
    spool_bytes: int = 0
    decisions: int = 0
    blocks: int = 0
    errors: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    rss_bytes: int = 0
    examples: int = 0
    uptime_s: float = 0.0
    workload_state: str = ""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Sign of life; ``sent_us`` is the agent's clock and comes back."""

    sent_us: int
    status: AgentStatus


@dataclass(frozen=True, slots=True)
class TaskOrder:
    """An order; ``parts`` counts the TaskPart frames that follow when ``content`` is empty."""

    task_id: str
    run_id: str
    kind: TaskKind
    round: int
    deadline_s: float
    content: bytes = b""
    parts: int = 0


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The answer to an order."""

    task_id: str
    run_id: str
    round: int
    ok: bool
    error: str = ""
    content: bytes = b""
    parts: int = 0


@dataclass(frozen=True, slots=True)
class TaskPart:
    """One slice of an order's or result's content."""

    task_id: str
    index: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """Sequences that the agent had to drop: ``from_seq`` up to, not including, ``to_seq``."""

    stream_id: bytes
    from_seq: int
    to_seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class DeploymentReport:
    """How far the agent got with an assignment."""

    name: str
    release: int
    bundle_id: str
    state: DeploymentState
    message: str = ""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The agent leaves on purpose."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Welcome:
    """The hub takes the agent."""

    session_id: str
    region: str
    hub_id: str
    heartbeat_s: float
    credit_bytes: int
    durable_up_to: int = 0
    """Every lower sequence of the agent's stream is durable here; 0 where the hub knows none."""
    hubs: tuple[str, ...] = ()
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True)
class Refused:
    """The hub does not take the agent; ``code`` is a stable word."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Ack:
    """Every sequence of the stream below ``durable_up_to`` is durable."""

    stream_id: bytes
    durable_up_to: int


@dataclass(frozen=True, slots=True)
class Credit:
    """So many payload bytes more may be sent."""

    bytes: int


@dataclass(frozen=True, slots=True)
class HeartbeatAck:
    """The answer to a Heartbeat."""

    sent_us: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """One model for one slot of an agent."""

    slot: str
    name: str
    release: int
    bundle_id: str


@dataclass(frozen=True, slots=True)
class Desired:
    """What the control plane wants an agent to run."""

    generation: int
    assignments: tuple[Assignment, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """Go to another hub at a random moment of the next ``within_s`` seconds."""

    hubs: tuple[str, ...]
    within_s: float


AgentMessage = Hello | EventBatch | Heartbeat | TaskResult | TaskPart | Lost | DeploymentReport | Goodbye
HubMessage = Welcome | Refused | Ack | Credit | HeartbeatAck | Desired | TaskOrder | TaskPart | Move
