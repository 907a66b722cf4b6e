"""Frames of the session, both ways.

One ``match`` per direction: who adds a message adds a case on each side and a round-trip case in the property test.
"""

from __future__ import annotations

import math
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from nervure.v1 import session_pb2 as pb
from nervure.v1 import tasks_pb2 as tasks
from nervure_core.errors import PeerError
from nervure_core.events import MAX_BATCH_EVENTS, MAX_PAYLOAD_BYTES, EventBatch, EventKind, PayloadCodec
from nervure_core.ids import STREAM_ID_BYTES
from nervure_core.latency import LatencyHistogram
from nervure_core.messages import (
    MAX_PART_BYTES,
    Ack,
    AgentMessage,
    AgentStatus,
    Assignment,
    Credit,
    DeploymentReport,
    DeploymentState,
    Desired,
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    Hello,
    HubMessage,
    Lost,
    Move,
    Refused,
    Running,
    TaskKind,
    TaskOrder,
    TaskPart,
    TaskResult,
    Welcome,
)

_M = TypeVar("_M", bound=Message)

MAX_PARTS = 512
MAX_ASSIGNMENTS = 16


class MalformedFrame(PeerError):
    """A peer sent a frame that breaks the contract; its session ends, nobody else's does."""

    code = "malformed"


_KINDS = {
    EventKind.AUDIT: pb.EVENT_KIND_AUDIT,
    EventKind.FINDING: pb.EVENT_KIND_FINDING,
    EventKind.METRIC: pb.EVENT_KIND_METRIC,
    EventKind.SAMPLE: pb.EVENT_KIND_SAMPLE,
}
_KINDS_BACK = {value: kind for kind, value in _KINDS.items()}
_CODECS = {PayloadCodec.NONE: pb.PAYLOAD_CODEC_NONE, PayloadCodec.ZSTD: pb.PAYLOAD_CODEC_ZSTD}
_CODECS_BACK = {value: codec for codec, value in _CODECS.items()}
_STATES = {
    DeploymentState.FETCHING: pb.DEPLOYMENT_STATE_FETCHING,
    DeploymentState.RUNNING: pb.DEPLOYMENT_STATE_RUNNING,
    DeploymentState.FAILED: pb.DEPLOYMENT_STATE_FAILED,
}
_STATES_BACK = {value: state for state, value in _STATES.items()}
_TASK_KINDS = {kind.value for kind in TaskKind}


def _parse(message: _M, data: bytes) -> _M:
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise MalformedFrame(f"{len(data)} bytes are no {message.DESCRIPTOR.name}") from error
    return message


def encode_batch(batch: EventBatch) -> bytes:
    """Return a batch as it rests in spools and journals."""
    return _batch_to_pb(batch).SerializeToString()


def decode_batch(data: bytes) -> EventBatch:
    """Return the batch of a spool or journal record.

    Raises:
        MalformedFrame: The bytes are no batch, or break its bounds.
    """
    return _batch_from_pb(_parse(pb.EventBatch(), data))


def _batch_to_pb(batch: EventBatch) -> pb.EventBatch:
    return pb.EventBatch(
        stream_id=batch.stream_id,
        first_seq=batch.first_seq,
        count=batch.count,
        kind=_KINDS[batch.kind],
        codec=_CODECS[batch.codec],
        payload=batch.payload,
    )


def _batch_from_pb(frame: pb.EventBatch) -> EventBatch:
    if (
        len(frame.stream_id) != STREAM_ID_BYTES
        or not 0 < frame.count <= MAX_BATCH_EVENTS
        or frame.first_seq + frame.count >= 1 << 63
        or frame.kind not in _KINDS_BACK
        or frame.codec not in _CODECS_BACK
        or not 0 < len(frame.payload) <= MAX_PAYLOAD_BYTES
    ):
        raise MalformedFrame(
            f"batch [{frame.first_seq}, +{frame.count}) of {len(frame.payload)} bytes breaks the bounds of a batch"
        )
    return EventBatch(
        frame.stream_id,
        frame.first_seq,
        frame.count,
        _KINDS_BACK[frame.kind],
        _CODECS_BACK[frame.codec],
        frame.payload,
    )


def _stream(stream_id: bytes) -> bytes:
    if len(stream_id) != STREAM_ID_BYTES:
        raise MalformedFrame(f"stream id has {len(stream_id)} bytes, not {STREAM_ID_BYTES}")
    return stream_id


def _running_to_pb(running: Running) -> pb.Running:
    return pb.Running(name=running.name, release=running.release, bundle_id=running.bundle_id)


def _running_from_pb(running: pb.Running) -> Running:
    return Running(running.name, running.release, running.bundle_id)


def _status_to_pb(status: AgentStatus) -> pb.AgentStatus:
    return pb.AgentStatus(
        running=_running_to_pb(status.running),
        events_produced=status.events_produced,
        events_acknowledged=status.events_acknowledged,
        events_lost=status.events_lost,
        spool_bytes=status.spool_bytes,
        decisions=status.decisions,
        blocks=status.blocks,
        errors=status.errors,
        latency_counts=status.latency.to_counts(),
        rss_bytes=status.rss_bytes,
        examples=status.examples,
        uptime_s=status.uptime_s,
        workload_state=status.workload_state,
    )


def _status_from_pb(status: pb.AgentStatus) -> AgentStatus:
    try:
        latency = LatencyHistogram.from_counts(status.latency_counts)
    except ValueError as error:
        raise MalformedFrame(f"status: {error}") from error
    if not math.isfinite(status.uptime_s):
        raise MalformedFrame("status: uptime is not finite")
    return AgentStatus(
        running=_running_from_pb(status.running),
        events_produced=status.events_produced,
        events_acknowledged=status.events_acknowledged,
        events_lost=status.events_lost,
        spool_bytes=status.spool_bytes,
        decisions=status.decisions,
        blocks=status.blocks,
        errors=status.errors,
        latency=latency,
        rss_bytes=status.rss_bytes,
        examples=status.examples,
        uptime_s=status.uptime_s,
        workload_state=status.workload_state,
    )


def _part_from_pb(part: tasks.TaskPart) -> TaskPart:
    if not part.task_id or part.index >= MAX_PARTS or not 0 < len(part.data) <= MAX_PART_BYTES:
        raise MalformedFrame(f"task part {part.index} of {len(part.data)} bytes breaks the bounds of a part")
    return TaskPart(part.task_id, part.index, part.data)


def encode_agent(message: AgentMessage) -> pb.AgentFrame:
    """Return the frame of a message from an agent."""
    match message:
        case EventBatch():
            return pb.AgentFrame(events=_batch_to_pb(message))
        case Hello():
            return pb.AgentFrame(
                hello=pb.Hello(
                    protocol=message.protocol,
                    agent_id=message.agent_id,
                    version=message.version,
                    labels=message.labels,
                    home_region=message.home_region,
                    stream_id=message.stream_id,
                    next_seq=message.next_seq,
                    workload=message.workload,
                    running=_running_to_pb(message.running),
                    can_train=message.can_train,
                    examples=message.examples,
                )
            )
        case Heartbeat():
            return pb.AgentFrame(heartbeat=pb.Heartbeat(sent_us=message.sent_us, status=_status_to_pb(message.status)))
        case TaskResult():
            return pb.AgentFrame(
                task_result=tasks.TaskResult(
                    task_id=message.task_id,
                    run_id=message.run_id,
                    round=message.round,
                    ok=message.ok,
                    error=message.error,
                    content=message.content,
                    parts=message.parts,
                )
            )
        case TaskPart():
            return pb.AgentFrame(
                task_part=tasks.TaskPart(task_id=message.task_id, index=message.index, data=message.data)
            )
        case Lost():
            return pb.AgentFrame(
                lost=pb.Lost(
                    stream_id=message.stream_id,
                    from_seq=message.from_seq,
                    to_seq=message.to_seq,
                    reason=message.reason,
                )
            )
        case DeploymentReport():
            return pb.AgentFrame(
                deployment=pb.DeploymentReport(
                    name=message.name,
                    release=message.release,
                    bundle_id=message.bundle_id,
                    state=_STATES[message.state],
                    message=message.message,
                )
            )
        case Goodbye():
            return pb.AgentFrame(goodbye=pb.Goodbye(reason=message.reason))


def decode_agent(frame: pb.AgentFrame) -> AgentMessage:
    """Return the message of a frame from an agent.

    Raises:
        MalformedFrame: The frame is empty, of an unknown kind, or breaks a bound.
    """
    match frame.WhichOneof("body"):
        case "events":
            return _batch_from_pb(frame.events)
        case "hello":
            hello = frame.hello
            return Hello(
                agent_id=hello.agent_id,
                version=hello.version,
                stream_id=_stream(hello.stream_id),
                next_seq=hello.next_seq,
                labels=dict(hello.labels),
                home_region=hello.home_region,
                workload=hello.workload,
                running=_running_from_pb(hello.running),
                can_train=hello.can_train,
                examples=hello.examples,
                protocol=hello.protocol,
            )
        case "heartbeat":
            return Heartbeat(frame.heartbeat.sent_us, _status_from_pb(frame.heartbeat.status))
        case "task_result":
            result = frame.task_result
            if not result.task_id or result.parts > MAX_PARTS:
                raise MalformedFrame(f"result of task {result.task_id!r} in {result.parts} parts")
            return TaskResult(
                result.task_id, result.run_id, result.round, result.ok, result.error, result.content, result.parts
            )
        case "task_part":
            return _part_from_pb(frame.task_part)
        case "lost":
            lost = frame.lost
            if lost.to_seq <= lost.from_seq:
                raise MalformedFrame(f"lost [{lost.from_seq}, {lost.to_seq}) is empty")
            return Lost(_stream(lost.stream_id), lost.from_seq, lost.to_seq, lost.reason)
        case "deployment":
            report = frame.deployment
            if report.state not in _STATES_BACK:
                raise MalformedFrame(f"deployment state {report.state}")
            return DeploymentReport(
                report.name, report.release, report.bundle_id, _STATES_BACK[report.state], report.message
            )
        case "goodbye":
            return Goodbye(frame.goodbye.reason)
        case None:
            raise MalformedFrame("frame from an agent is empty or of an unknown kind")


def encode_hub(message: HubMessage) -> pb.HubFrame:
    """Return the frame of a message from a hub."""
    match message:
        case Ack():
            return pb.HubFrame(ack=pb.Ack(stream_id=message.stream_id, durable_up_to=message.durable_up_to))
        case Credit():
            return pb.HubFrame(credit=pb.Credit(bytes=message.bytes))
        case HeartbeatAck():
            return pb.HubFrame(heartbeat_ack=pb.HeartbeatAck(sent_us=message.sent_us))
        case Welcome():
            return pb.HubFrame(
                welcome=pb.Welcome(
                    protocol=message.protocol,
                    session_id=message.session_id,
                    region=message.region,
                    hub_id=message.hub_id,
                    heartbeat_ms=round(message.heartbeat_s * 1000),
                    credit_bytes=message.credit_bytes,
                    durable_up_to=message.durable_up_to,
                    hubs=message.hubs,
                )
            )
        case Refused():
            return pb.HubFrame(refused=pb.Refused(code=message.code, message=message.message))
        case Desired():
            assignments = [
                pb.Assignment(slot=item.slot, name=item.name, release=item.release, bundle_id=item.bundle_id)
                for item in message.assignments
            ]
            return pb.HubFrame(desired=pb.Desired(generation=message.generation, assignments=assignments))
        case TaskOrder():
            return pb.HubFrame(
                task_order=tasks.TaskOrder(
                    task_id=message.task_id,
                    run_id=message.run_id,
                    message_type=message.kind,
                    round=message.round,
                    deadline_ms=round(message.deadline_s * 1000),
                    content=message.content,
                    parts=message.parts,
                )
            )
        case TaskPart():
            return pb.HubFrame(
                task_part=tasks.TaskPart(task_id=message.task_id, index=message.index, data=message.data)
            )
        case Move():
            return pb.HubFrame(move=pb.Move(hubs=message.hubs, within_ms=round(message.within_s * 1000)))


def decode_hub(frame: pb.HubFrame) -> HubMessage:
    """Return the message of a frame from a hub.

    Raises:
        MalformedFrame: The frame is empty, of an unknown kind, or breaks a bound.
    """
    match frame.WhichOneof("body"):
        case "ack":
            return Ack(_stream(frame.ack.stream_id), frame.ack.durable_up_to)
        case "credit":
            return Credit(frame.credit.bytes)
        case "heartbeat_ack":
            return HeartbeatAck(frame.heartbeat_ack.sent_us)
        case "welcome":
            welcome = frame.welcome
            return Welcome(
                session_id=welcome.session_id,
                region=welcome.region,
                hub_id=welcome.hub_id,
                heartbeat_s=welcome.heartbeat_ms / 1000,
                credit_bytes=welcome.credit_bytes,
                durable_up_to=welcome.durable_up_to,
                hubs=tuple(welcome.hubs),
                protocol=welcome.protocol,
            )
        case "refused":
            return Refused(frame.refused.code, frame.refused.message)
        case "desired":
            if len(frame.desired.assignments) > MAX_ASSIGNMENTS:
                raise MalformedFrame(f"{len(frame.desired.assignments)} assignments for one agent")
            return Desired(
                frame.desired.generation,
                tuple(
                    Assignment(item.slot, item.name, item.release, item.bundle_id) for item in frame.desired.assignments
                ),
            )
        case "task_order":
            order = frame.task_order
            if not order.task_id or order.parts > MAX_PARTS or order.message_type not in _TASK_KINDS:
                raise MalformedFrame(f"order {order.task_id!r} of kind {order.message_type!r} in {order.parts} parts")
            return TaskOrder(
                order.task_id,
                order.run_id,
                TaskKind(order.message_type),
                order.round,
                order.deadline_ms / 1000,
                order.content,
                order.parts,
            )
        case "task_part":
            return _part_from_pb(frame.task_part)
        case "move":
            return Move(tuple(frame.move.hubs), frame.move.within_ms / 1000)
        case _:
            raise MalformedFrame("frame from a hub is empty or of an unknown kind")
