"""What one journal record says: which agent sent what, and when it arrived.

Rules: a record is ``version u8 | hub_time_us i64 | region length u8 | agent length u8 | region | agent | body``,
little-endian; the log's class byte says what the body is. The body of events is the batch exactly as
``nervure_core.codec`` writes it, so a payload is never opened on its way in. Region is the one the agent belongs to.

>>> entry = StoredLoss("camera-7", "europe", 5, Lost(b"s" * 16, 3, 9, "quota"))
>>> decode_record(LOSS, encode_record(entry)) == entry
True
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

from nervure_core.codec import MalformedFrame, decode_batch, encode_batch
from nervure_core.errors import InputError
from nervure_core.events import EventBatch
from nervure_core.messages import Lost

EVENTS = 0
"""Class byte of a batch."""
LOSS = 1
"""Class byte of an agent's report of loss."""

_VERSION = 1
_HEAD = struct.Struct("<BqBB")


class BadRecord(InputError):
    """A journal record is whole (its checksum holds) but says nothing we understand: counted and skipped."""

    code = "bad_record"


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch as a gateway took it."""

    agent_id: str
    region: str
    hub_time_us: int
    """Arrival by the hub's wall clock."""
    batch: EventBatch


@dataclass(frozen=True, slots=True)
class StoredLoss:
    """What an agent said it had to drop."""

    agent_id: str
    region: str
    hub_time_us: int
    lost: Lost


def klass_of(entry: StoredBatch | StoredLoss) -> int:
    """Return the class byte for the log."""
    return EVENTS if isinstance(entry, StoredBatch) else LOSS


def encode_record(entry: StoredBatch | StoredLoss) -> bytes:
    """Return the payload of the log record; names are at most 63 characters by their own rule."""
    region, agent = entry.region.encode(), entry.agent_id.encode()
    head = _HEAD.pack(_VERSION, entry.hub_time_us, len(region), len(agent))
    if isinstance(entry, StoredBatch):
        body = encode_batch(entry.batch)
    else:
        lost = entry.lost
        body = json.dumps([lost.stream_id.hex(), lost.from_seq, lost.to_seq, lost.reason]).encode()
    return b"".join((head, region, agent, body))


def decode_record(klass: int, payload: bytes) -> StoredBatch | StoredLoss:
    """Return what a log record says.

    Raises:
        BadRecord: It is of another version or class, or its body does not parse.
    """
    try:
        version, hub_time_us, region_bytes, agent_bytes = _HEAD.unpack_from(payload)
        if version != _VERSION:
            raise BadRecord(f"journal record of version {version}, this hub reads {_VERSION}")
        agent_at = _HEAD.size + region_bytes
        body_at = agent_at + agent_bytes
        if body_at > len(payload):
            raise BadRecord("journal record is shorter than its head says")
        region = payload[_HEAD.size : agent_at].decode()
        agent_id = payload[agent_at:body_at].decode()
        body = payload[body_at:]
        if klass == EVENTS:
            return StoredBatch(agent_id, region, hub_time_us, decode_batch(body))
        if klass == LOSS:
            stream, from_seq, to_seq, reason = json.loads(body)
            lost = Lost(bytes.fromhex(stream), int(from_seq), int(to_seq), str(reason))
            return StoredLoss(agent_id, region, hub_time_us, lost)
    except (struct.error, ValueError, TypeError, MalformedFrame) as error:
        # UnicodeDecodeError and JSONDecodeError are ValueErrors.
        raise BadRecord(f"journal record of class {klass} does not parse: {error}") from error
    raise BadRecord(f"journal record of unknown class {klass}")
