"""What frames of both ends and records on disk have in common."""

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
from nervure_core.messages import MAX_PART_BYTES, AgentStatus, Running, TaskPart

_M = TypeVar("_M", bound=Message)

MAX_PARTS = 512


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


def _parse(message: _M, data: bytes) -> _M:
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise MalformedFrame(f"{len(data)} bytes are no {message.DESCRIPTOR.name}") from error
    return message


def encode_batch(batch: EventBatch) -> bytes:
    """Return a batch as it rests in spools and journals."""
    return batch_to_pb(batch).SerializeToString()


def decode_batch(data: bytes) -> EventBatch:
    """Return the batch of a spool or journal record.

    Raises:
        MalformedFrame: The bytes are no batch, or break its bounds.
    """
    return batch_from_pb(_parse(pb.EventBatch(), data))


def batch_to_pb(batch: EventBatch) -> pb.EventBatch:
    """Return the wire form of a batch."""
    return pb.EventBatch(
        stream_id=batch.stream_id,
        first_seq=batch.first_seq,
        count=batch.count,
        kind=_KINDS[batch.kind],
        codec=_CODECS[batch.codec],
        payload=batch.payload,
    )


def batch_from_pb(frame: pb.EventBatch) -> EventBatch:
    """Return a batch within its bounds, or raise MalformedFrame."""
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


def checked_stream(stream_id: bytes) -> bytes:
    """Return a stream id of the right length, or raise MalformedFrame."""
    if len(stream_id) != STREAM_ID_BYTES:
        raise MalformedFrame(f"stream id has {len(stream_id)} bytes, not {STREAM_ID_BYTES}")
    return stream_id


def running_to_pb(running: Running) -> pb.Running:
    """Return the wire form of what an agent runs."""
    return pb.Running(name=running.name, release=running.release, bundle_id=running.bundle_id)


def running_from_pb(running: pb.Running) -> Running:
    """Return what an agent runs."""
    return Running(running.name, running.release, running.bundle_id)


def status_to_pb(status: AgentStatus) -> pb.AgentStatus:
    """Return the wire form of an agent's report."""
    return pb.AgentStatus(
        running=running_to_pb(status.running),
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


def status_from_pb(status: pb.AgentStatus) -> AgentStatus:
    """Return an agent's report with finite numbers and known buckets, or raise MalformedFrame."""
    try:
        latency = LatencyHistogram.from_counts(status.latency_counts)
    except ValueError as error:
        raise MalformedFrame(f"status: {error}") from error
    if not math.isfinite(status.uptime_s):
        raise MalformedFrame("status: uptime is not finite")
    return AgentStatus(
        running=running_from_pb(status.running),
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


def part_from_pb(part: tasks.TaskPart) -> TaskPart:
    """Return a part within its bounds, or raise MalformedFrame."""
    if not part.task_id or part.index >= MAX_PARTS or not 0 < len(part.data) <= MAX_PART_BYTES:
        raise MalformedFrame(f"task part {part.index} of {len(part.data)} bytes breaks the bounds of a part")
    return TaskPart(part.task_id, part.index, part.data)
