"""Events: what an agent found, in batches that travel and rest as Arrow IPC.

Rules: an event is named by (agent, stream, sequence); a batch holds consecutive sequences of one kind; gateways store a
batch's payload without decoding it, so whatever reads a payload bounds what it unpacks. Columns (Arrow types): time_us
int64, workload utf8, subject utf8, label utf8, score float32, action utf8, model utf8, release int64, latency_us
float32, detail utf8 (JSON). Columns may be added at the end.

Source: Arrow columnar format 1.5, "Serialization and Interprocess Communication (IPC)"; RFC 8878 (zstd).
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import nanoarrow as na
from nanoarrow.ipc import InputStream, StreamWriter

from nervure_core.errors import PeerError
from nervure_core.zstd import compress, decompress_bounded

MAX_BATCH_EVENTS = 65_536
MAX_PAYLOAD_BYTES = 768 * 1024
"""Coded bytes of one batch: leaves room for the frame round it, which is 1 MiB at most."""
MAX_PLAIN_BYTES = 16 * 1024 * 1024
"""Decoded bytes of one batch: the bound that makes a zstd bomb harmless."""


class EventKind(StrEnum):
    """Classes of events, from the one kept longest to the one dropped first."""

    AUDIT = "audit"
    FINDING = "finding"
    METRIC = "metric"
    SAMPLE = "sample"


class PayloadCodec(StrEnum):
    """How a payload is coded."""

    NONE = "none"
    ZSTD = "zstd"


@dataclass(frozen=True, slots=True)
class Event:
    """One finding, or one fact of another kind in the same columns."""

    time_us: int
    """Device time, microseconds since the Unix epoch."""
    workload: str
    subject: str
    """What it is about, such as ``10.0.0.2:5555>10.0.0.1:22/tcp``."""
    label: str
    score: float
    """0 (benign) to 1."""
    action: str
    """``none``, ``observe`` or ``block``."""
    model: str
    release: int
    latency_us: float
    """From features to decision."""
    detail: str = "{}"
    """JSON object with what the workload wants to add."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Consecutive events of one kind, coded."""

    stream_id: bytes
    first_seq: int
    count: int
    kind: EventKind
    codec: PayloadCodec
    payload: bytes

    @property
    def end_seq(self) -> int:
        """The sequence after the last event."""
        return self.first_seq + self.count


class BadPayload(PeerError):
    """A payload is not what its header says."""

    code = "bad_payload"


_SCHEMA = na.struct(
    {
        "time_us": na.int64(),
        "workload": na.string(),
        "subject": na.string(),
        "label": na.string(),
        "score": na.float32(),
        "action": na.string(),
        "model": na.string(),
        "release": na.int64(),
        "latency_us": na.float32(),
        "detail": na.string(),
    }
)
COLUMNS: tuple[str, ...] = tuple(str(field.name) for field in _SCHEMA.fields)


def _texts(values: list[str]) -> na.c_array.__class__:
    encoded = [value.encode("utf-8", "replace") for value in values]
    offsets = array("i", [0]) * (len(encoded) + 1)
    total = 0
    for index, item in enumerate(encoded):
        total += len(item)
        offsets[index + 1] = total
    return na.c_array_from_buffers(na.string(), len(encoded), [None, offsets, b"".join(encoded)], null_count=0)


def _numbers(schema: na.Schema, code: str, values: list[int] | list[float]) -> na.c_array.__class__:
    return na.c_array_from_buffers(schema, len(values), [None, array(code, values)], null_count=0)


def encode_events(events: Sequence[Event]) -> bytes:
    """Return ``events`` as an Arrow IPC stream of one record batch, not compressed.

    Raises:
        ValueError: There are none, or more than ``MAX_BATCH_EVENTS``.
    """
    if not 0 < len(events) <= MAX_BATCH_EVENTS:
        raise ValueError(f"a batch holds 1 to {MAX_BATCH_EVENTS} events, not {len(events)}")
    columns = [
        _numbers(na.int64(), "q", [event.time_us for event in events]),
        _texts([event.workload for event in events]),
        _texts([event.subject for event in events]),
        _texts([event.label for event in events]),
        _numbers(na.float32(), "f", [event.score for event in events]),
        _texts([event.action for event in events]),
        _texts([event.model for event in events]),
        _numbers(na.int64(), "q", [event.release for event in events]),
        _numbers(na.float32(), "f", [event.latency_us for event in events]),
        _texts([event.detail for event in events]),
    ]
    batch = na.c_array_from_buffers(_SCHEMA, len(events), [None], children=columns, null_count=0)
    sink = io.BytesIO()
    with StreamWriter.from_writable(sink) as writer:
        writer.write_array(batch)
    return sink.getvalue()


def decode_events(stream: bytes) -> list[Event]:
    """Return the events of an Arrow IPC stream.

    Raises:
        BadPayload: The bytes are no Arrow stream, or a column is missing or of another type.
    """
    try:
        with InputStream.from_readable(io.BytesIO(stream)) as source:
            rows = list(na.ArrayStream(source).iter_tuples())
    except Exception as error:
        # nanoarrow raises its own private types for a torn stream; whatever it is, the payload is unusable.
        raise BadPayload(f"event payload of {len(stream)} bytes is no Arrow stream: {error}") from error
    try:
        return [Event(*row[: len(COLUMNS)]) for row in rows]
    except TypeError as error:
        raise BadPayload("event payload lacks columns") from error


def pack_events(
    stream_id: bytes,
    first_seq: int,
    kind: EventKind,
    events: Sequence[Event],
    codec: PayloadCodec = PayloadCodec.ZSTD,
) -> EventBatch:
    """Return ``events`` as a batch whose sequences begin at ``first_seq``."""
    plain = encode_events(events)
    payload = compress(plain) if codec is PayloadCodec.ZSTD else plain
    return EventBatch(stream_id, first_seq, len(events), kind, codec, payload)


def unpack_payload(batch: EventBatch) -> bytes:
    """Return a batch's Arrow IPC stream, decompressing no more than ``MAX_PLAIN_BYTES``.

    Raises:
        BadPayload: The payload does not decompress, or is larger than the bound.
    """
    if batch.codec is PayloadCodec.NONE:
        if len(batch.payload) > MAX_PLAIN_BYTES:
            raise BadPayload(f"event payload has {len(batch.payload)} bytes, more than {MAX_PLAIN_BYTES}")
        return batch.payload
    try:
        return decompress_bounded(batch.payload, MAX_PLAIN_BYTES)
    except ValueError as error:
        raise BadPayload(f"event payload does not decompress: {error}") from error
