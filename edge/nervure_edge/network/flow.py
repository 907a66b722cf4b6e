"""One finished conversation between two endpoints, wherever it was seen.

Every sensor of the network workload (a capture file, a live interface, the log of another tool) ends in this one type, so
features, labels and findings know nothing of where a flow came from.

Rules:

- The *source* is who opened the conversation, the *destination* who was asked; ``s…`` and ``d…`` count what each of them
  sent.
- Bytes are network-layer bytes (the IP packet with its header, without the link layer and its padding).
- Times are whole microseconds since 1970-01-01 UTC.
- ``state`` is a word of `nervure_edge.network.tcp_state`, ``service`` one of `nervure_edge.network.services`.
- ``label`` is ``""`` where nobody knows, else ``"benign"`` or ``"attack"``; ``attack`` then names the kind.

>>> flow = Flow(start_us=0, dur_us=1500, src="10.0.0.2", dst="10.0.0.1", sport=5555, dport=22, proto="tcp",
...             service="ssh", state="SF", spkts=6, dpkts=5, sbytes=400, dbytes=380)
>>> flow.subject
'10.0.0.2:5555>10.0.0.1:22/tcp'
>>> flow.end_us
1500
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Final

BENIGN: Final = "benign"
ATTACK: Final = "attack"

PROTOCOLS: Final[dict[int, str]] = {
    1: "icmp",
    2: "igmp",
    4: "ipip",
    6: "tcp",
    17: "udp",
    41: "ipv6",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "icmp",
    88: "eigrp",
    89: "ospf",
    103: "pim",
    112: "vrrp",
    132: "sctp",
}
"""Names of IP protocol numbers (IANA); ICMP of both IP versions is one protocol here, as in Zeek."""


def protocol_name(number: int) -> str:
    """Return the name of an IP protocol number, ``"ip-<number>"`` where it has none here."""
    return PROTOCOLS.get(number) or f"ip-{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A bidirectional flow, finished or cut by a time-out."""

    start_us: int
    dur_us: int
    src: str
    dst: str
    sport: int
    dport: int
    proto: str
    service: str
    state: str
    spkts: int
    dpkts: int
    sbytes: int
    dbytes: int
    label: str = ""
    attack: str = ""
    site: str = ""

    @property
    def end_us(self) -> int:
        """When the last packet was seen, in microseconds since 1970."""
        return self.start_us + self.dur_us

    @property
    def subject(self) -> str:
        """Who spoke with whom, in one word that a person can read and a query can match."""
        return f"{_endpoint(self.src, self.sport)}>{_endpoint(self.dst, self.dport)}/{self.proto}"

    def detail(self) -> str:
        """Return the JSON text that travels with a finding on this flow."""
        return json.dumps(
            {
                "src": self.src,
                "dst": self.dst,
                "sport": self.sport,
                "dport": self.dport,
                "proto": self.proto,
                "service": self.service,
                "state": self.state,
                "spkts": self.spkts,
                "dpkts": self.dpkts,
                "sbytes": self.sbytes,
                "dbytes": self.dbytes,
                "dur_s": self.dur_us / 1e6,
            },
            separators=(",", ":"),
        )


def measured_flow(*values: int | str) -> Flow:
    """Make a flow of the values of its fields in order, without ``label``, ``attack`` and ``site``.

    The constructor of a frozen dataclass goes through ``object.__setattr__`` by name for every field, three times the cost of
    everything else that happens when a flow ends; this sets the slots themselves.
    """
    flow = object.__new__(Flow)
    for put, value in zip(_SLOTS, (*values, "", "", ""), strict=True):
        put(flow, value)
    return flow


_SLOTS: Final = tuple([getattr(Flow, field.name).__set__ for field in fields(Flow)])


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
