"""From stored batches to rows: the columns of the lake and how a payload becomes them.

Rules: here a payload is opened for the first time, so everything about it is checked: its size, that it is Arrow, its
columns and its number of rows. One that does not pass is counted and skipped; it can't stop the others. The partition
``day`` is the day of arrival by the hub's clock: a device with a wrong clock must not open a partition in 1970.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from nervure_core.events import BadPayload, unpack_payload
from nervure_hub.gateway.records import StoredBatch

_FROM_AGENT = (
    ("time_us", pa.int64()),
    ("workload", pa.string()),
    ("subject", pa.string()),
    ("label", pa.string()),
    ("score", pa.float32()),
    ("action", pa.string()),
    ("model", pa.string()),
    ("release", pa.int64()),
    ("latency_us", pa.float32()),
    ("detail", pa.string()),
)
_FROM_HUB = (
    ("region", pa.string()),
    ("agent", pa.string()),
    ("stream", pa.string()),
    ("seq", pa.int64()),
    ("kind", pa.string()),
    ("hub_time_us", pa.int64()),
    ("day", pa.string()),
)
PARTITIONS = ["region", "day", "kind"]
SCHEMA: Any = pa.schema([*_FROM_AGENT, *_FROM_HUB])
"""Columns of the view ``events``."""


def rows_of(stored: StoredBatch) -> Any:
    """Return the rows of a batch as a ``pyarrow.Table`` of ``SCHEMA``.

    Raises:
        BadPayload: The payload is not what the batch says.
    """
    batch = stored.batch
    plain = unpack_payload(batch)
    try:
        table = pa.ipc.open_stream(plain).read_all()
        columns = [table.column(name).combine_chunks().cast(kind) for name, kind in _FROM_AGENT]
    except (pa.ArrowException, KeyError, OSError) as error:
        raise BadPayload(f"payload of agent {stored.agent_id} is no table of events: {error}") from error
    if table.num_rows != batch.count:
        raise BadPayload(f"payload of agent {stored.agent_id} has {table.num_rows} rows, its batch says {batch.count}")
    day = datetime.fromtimestamp(stored.hub_time_us / 1e6, UTC).strftime("%Y-%m-%d")

    def everywhere(value: str) -> Any:
        return pa.repeat(pa.scalar(value, pa.string()), batch.count)

    return pa.Table.from_arrays(
        [
            *columns,
            everywhere(stored.region),
            everywhere(stored.agent_id),
            everywhere(batch.stream_id.hex()),
            pa.array(range(batch.first_seq, batch.end_seq), pa.int64()),
            everywhere(batch.kind.value),
            pa.repeat(pa.scalar(stored.hub_time_us, pa.int64()), batch.count),
            everywhere(day),
        ],
        schema=SCHEMA,
    )
