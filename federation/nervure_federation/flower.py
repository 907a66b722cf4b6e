"""The one door to Flower: the only module of the project that imports ``flwr``.

Rules:

- Flower is quiet: telemetry and update checks are switched off before the import, and its own console handler is taken
  off the logger ``flwr``, so that its lines go where ours go.
- The content of a task on our wire is Flower's ``RecordDict`` protobuf, byte for byte, so nothing is translated.
- ``Message(...)`` reads a process-global identity. It is set here once to constants, and means nothing: the grid stamps
  every message with its own run, round and id (`stamped`), so two runs in one process can't mix.
- Flower pays half a second and 25 MiB for its import: import this module where a round really runs, never in a command.

>>> record = RecordDict({"arrays": to_array_record({"w": np.zeros(2, np.float32)})})
>>> from_array_record(record_of(content_of(record)).array_records["arrays"])["w"].tolist()
[0.0, 0.0]
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nervure_core.errors import PeerError
from nervure_core.tensors import Arrays

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
with warnings.catch_warnings():
    # Flower's command line touches deprecated names of click while it is imported; nothing of that is ours to mend.
    warnings.simplefilter("ignore", DeprecationWarning)
    from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
    from flwr.app.message.message import make_message
    from flwr.app.metadata import Metadata
    from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
    from flwr.proto.node_pb2 import NodeInfo
    from flwr.proto.recorddict_pb2 import RecordDict as RecordDictProto
    from flwr.serverapp import Grid
    from flwr.serverapp import strategy as strategies
    from flwr.serverapp.strategy import Strategy
    from flwr.supercore.run import Run
    from flwr.supercore.task_identity import TaskIdentity

__all__ = [
    "ArrayRecord",
    "ConfigRecord",
    "Grid",
    "Message",
    "MessageType",
    "MetricRecord",
    "NodeInfo",
    "RecordDict",
    "Run",
    "Strategy",
    "content_of",
    "from_array_record",
    "record_of",
    "reply_to",
    "stamped",
    "strategies",
    "sum_counts",
    "to_array_record",
]

SERVER_NODE = 1
"""The node id under which Flower knows the server side of a run."""

_logger = logging.getLogger("flwr")
for _handler in list(_logger.handlers):
    _logger.removeHandler(_handler)
_logger.propagate = True
_logger.setLevel(logging.WARNING)

TaskIdentity.task_id = 0
TaskIdentity.run_id = 0
TaskIdentity.node_id = SERVER_NODE


class MalformedContent(PeerError):
    """The content of a task or a reply is no RecordDict."""

    code = "malformed-content"


def content_of(record: RecordDict) -> bytes:
    """Serialise a record to the content of a task on our wire.

    Deterministic: equal records give equal bytes, so byte counts and hashes of a rerun are equal too.
    """
    return bytes(recorddict_to_proto(record).SerializeToString(deterministic=True))


def record_of(content: bytes) -> RecordDict:
    """Parse the content of a task on our wire.

    Raises:
        MalformedContent: The bytes are no RecordDict, or hold a record of a kind Flower does not know.
    """
    proto = RecordDictProto()
    try:
        proto.ParseFromString(content)
        return recorddict_from_proto(proto)
    except Exception as error:  # protobuf, Flower and numpy each raise their own families here
        raise MalformedContent(f"task content of {len(content)} bytes is no RecordDict: {error}") from error


def to_array_record(arrays: Mapping[str, NDArray[np.generic]]) -> ArrayRecord:
    """Wrap named arrays, in the order of the mapping."""
    return ArrayRecord({name: Array(np.ascontiguousarray(array)) for name, array in arrays.items()})


def from_array_record(record: ArrayRecord) -> Arrays:
    """Unwrap named arrays, in the order of the record."""
    return {name: array.numpy() for name, array in record.items()}


def stamped(message: Message, *, run: int, message_id: str, group: str) -> Message:
    """Copy an instruction with metadata of its own.

    The strategies build all messages of a round round one shared record and leave ids and group empty; the copy holds
    its own parsed record, so nobody can change the neighbour's.

    Args:
        message: An instruction made by a strategy.
        run: The run's number, positive.
        message_id: Unique within the run.
        group: The round, as text.
    """
    old = message.metadata
    metadata = Metadata(
        run_id=run,
        message_id=message_id,
        src_node_id=SERVER_NODE,
        dst_node_id=old.dst_node_id,
        reply_to_message_id="",
        group_id=group,
        created_at=old.created_at,
        ttl=old.ttl,
        message_type=old.message_type,
    )
    metadata.delivered_at = ""
    return make_message(metadata=metadata, content=record_of(content_of(message.content)))


def sum_counts(records: list[RecordDict], weighted_by: str) -> MetricRecord:
    """Join the agents' evaluations: counts are added up, the loss is averaged by examples.

    Flower's default would average counts of true and false positives too, which says nothing.
    """
    joined: dict[str, float] = {}
    for record in records:
        for metrics in record.metric_records.values():
            weight = _number(metrics[weighted_by])
            for name, value in metrics.items():
                share = _number(value) * (weight if name.endswith("loss") else 1.0)
                joined[name] = joined.get(name, 0.0) + share
    total = joined.get(weighted_by, 0.0)
    return MetricRecord({n: v / total if n.endswith("loss") and total else v for n, v in joined.items()})


def _number(value: object) -> float:
    # The gatekeeper lets numbers through only, so a list here is a bug of ours and float() says so.
    return float(value)  # type: ignore[arg-type]


def reply_to(instruction: Message, record: RecordDict) -> Message:
    """Make the reply to an instruction, from the node that the instruction went to."""
    return Message(record, reply_to=instruction)
