"""How often the last hundred connections shared something with this one: the ``ct_`` counters of UNSW-NB15, O(1) per flow.

Definitions as published (Moustafa and Slay, *UNSW-NB15: a comprehensive data set for network intrusion detection systems*, MilCIS 2015,
table VI, features 41 to 47): the number of connections, among the last 100 by the time they ended, that contain

    ct_srv_src        the same service and source address
    ct_srv_dst        the same service and destination address
    ct_dst_ltm        the same destination address
    ct_src_ltm        the same source address
    ct_src_dport_ltm  the same source address and destination port
    ct_dst_sport_ltm  the same destination address and source port
    ct_dst_src_ltm    the same source and destination address

The connection itself is one of the hundred, so every counter is at least 1. A ring holds the keys of the hundred, one dict their
counts: the flow that falls out of the ring is counted down, the new one up, and no flow is looked at again.

>>> window = LastHundred()
>>> [window.add(flow)[2] for flow in flows_to_one_host[:3]]      # doctest: +SKIP
[1, 2, 3]
"""

from __future__ import annotations

from typing import Final

from nervure_edge.network.flow import Flow

NAMES: Final = (
    "ct_srv_src",
    "ct_srv_dst",
    "ct_dst_ltm",
    "ct_src_ltm",
    "ct_src_dport_ltm",
    "ct_dst_sport_ltm",
    "ct_dst_src_ltm",
)
WINDOW: Final = 100

_Key = tuple[int, str | int, str]


class LastHundred:
    """The counters over the connections of one sensor."""

    def __init__(self) -> None:
        self._ring: list[tuple[_Key, ...]] = []
        self._next = 0
        self._counts: dict[_Key, int] = {}

    def add(self, flow: Flow) -> tuple[int, ...]:
        """Take a connection in, and return its counters in the order of `NAMES`."""
        src, dst, service = flow.src, flow.dst, flow.service
        keys: tuple[_Key, ...] = (
            (0, service, src),
            (1, service, dst),
            (2, 0, dst),
            (3, 0, src),
            (4, flow.dport, src),
            (5, flow.sport, dst),
            (6, src, dst),
        )
        counts = self._counts
        if len(self._ring) < WINDOW:
            self._ring.append(keys)
        else:
            for old in self._ring[self._next]:
                left = counts[old] - 1
                if left:
                    counts[old] = left
                else:
                    del counts[old]
            self._ring[self._next] = keys
            self._next = (self._next + 1) % WINDOW
        for key in keys:
            counts[key] = counts.get(key, 0) + 1
        return tuple([counts[key] for key in keys])
