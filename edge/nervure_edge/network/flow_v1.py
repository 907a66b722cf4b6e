"""The feature schema ``flow.v1``: what a model sees of a flow.

Laws:

1. Columns, their order and vocabularies never change; another set of columns is another schema with another name.
2. Values are raw: a model's graph carries its own normalisation, so that a model and its scaling can't be parted.
3. No address, no port and no TTL is ever a number: addresses and ports enter only as *same or not the same* in the counters, ports also
   as the class of service. TTLs betray the testbed of public data and nothing else.
4. A rate over no time is 0.

Numeric columns, with the definitions of UNSW-NB15 (Moustafa and Slay, MilCIS 2015), which are those of Argus: ``rate`` is
(packets - 1) per second; ``sload`` and ``dload`` are bits per second, the first packet not counted, for a rate needs intervals;
``smean`` and ``dmean`` are mean packet sizes in bytes; ``dur`` is in seconds. ``is_sm_ips_ports`` is 1 where both addresses and both
ports are the same (the LAND attack).

>>> features = FlowFeatures()
>>> features.vector(flow).shape == (len(COLUMNS),)      # doctest: +SKIP
True
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from nervure_edge.network.flow import Flow
from nervure_edge.network.last_hundred import NAMES, LastHundred
from nervure_edge.network.services import OTHER, SERVICES
from nervure_edge.network.tcp_state import STATES

SCHEMA: Final = "flow.v1"
PROTOCOLS: Final = ("tcp", "udp", "icmp", "other")

NUMERIC: Final = (
    "dur",
    "spkts",
    "dpkts",
    "sbytes",
    "dbytes",
    "smean",
    "dmean",
    "rate",
    "sload",
    "dload",
    *NAMES,
    "is_sm_ips_ports",
)
"""Columns that hold numbers."""

COLUMNS: Final[tuple[str, ...]] = (
    *NUMERIC,
    *(f"proto={word}" for word in PROTOCOLS),
    *(f"service={word}" for word in SERVICES),
    *(f"state={word}" for word in STATES),
)
"""All columns in order: the numbers, then one column per word, of which exactly one is 1."""

_PROTOCOL_AT: Final = {word: len(NUMERIC) + place for place, word in enumerate(PROTOCOLS)}
_SERVICE_AT: Final = {word: len(NUMERIC) + len(PROTOCOLS) + place for place, word in enumerate(SERVICES)}
_STATE_AT: Final = {word: len(NUMERIC) + len(PROTOCOLS) + len(SERVICES) + place for place, word in enumerate(STATES)}
_OTHER_PROTOCOL: Final = _PROTOCOL_AT["other"]
_OTHER_SERVICE: Final = _SERVICE_AT[OTHER]
_OTHER_STATE: Final = _STATE_AT["OTH"]


class FlowFeatures:
    """Makes the vectors of one sensor's flows, which must come in the order in which they ended."""

    def __init__(self) -> None:
        self._last_hundred = LastHundred()

    def vector(self, flow: Flow) -> npt.NDArray[np.float32]:
        """Return the features of the next flow, float32 of shape ``(len(COLUMNS),)``."""
        row = np.zeros(len(COLUMNS), dtype=np.float32)
        self.fill(row, flow)
        return row

    def fill(self, row: npt.NDArray[np.float32], flow: Flow) -> None:
        """Write the features of the next flow into a row of zeros."""
        spkts, dpkts, sbytes, dbytes = flow.spkts, flow.dpkts, flow.sbytes, flow.dbytes
        seconds = flow.dur_us / 1e6
        per_second = 1.0 / seconds if seconds else 0.0
        row[: len(NUMERIC)] = (
            seconds,
            spkts,
            dpkts,
            sbytes,
            dbytes,
            sbytes / spkts if spkts else 0.0,
            dbytes / dpkts if dpkts else 0.0,
            max(spkts + dpkts - 1, 0) * per_second,
            8.0 * sbytes * (spkts - 1) / spkts * per_second if spkts else 0.0,
            8.0 * dbytes * (dpkts - 1) / dpkts * per_second if dpkts else 0.0,
            *self._last_hundred.add(flow),
            flow.src == flow.dst and flow.sport == flow.dport,
        )
        row[_PROTOCOL_AT.get(flow.proto, _OTHER_PROTOCOL)] = 1.0
        row[_SERVICE_AT.get(flow.service, _OTHER_SERVICE)] = 1.0
        row[_STATE_AT.get(flow.state, _OTHER_STATE)] = 1.0
