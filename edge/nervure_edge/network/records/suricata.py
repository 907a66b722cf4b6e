"""Suricata's EVE log: one JSON event per line, of which those of type ``flow`` are flows; all others are passed over.

Suricata counts bytes of whole frames (``pktlen``), so the 14 bytes of an Ethernet header are taken off each packet to come near what
our meter counts. The state is told from the TCP flags of both directions where the event has them, else from Suricata's own word.
An alert is no ground truth: flows read from here carry no label.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from nervure_edge.network.flow import Flow
from nervure_edge.network.records.row import count, make_flow
from nervure_edge.network.tcp_state import conn_state

_ETHERNET_BYTES: Final = 14
_NUMBERS: Final = {"tcp": 6, "udp": 17}
_WORDS: Final = {"new": "S0", "established": "S1", "closed": "SF", "bypassed": "S1"}


class SuricataEve:
    """Reads the flow events of an EVE log."""

    def row(self, line: str) -> Flow | None:
        if not line.strip():
            return None
        event = json.loads(line)
        if not isinstance(event, dict):
            raise TypeError("a row is no object")
        if event.get("event_type") != "flow":
            return None
        flow: dict[str, Any] = event["flow"]
        start_us = _time_us(flow["start"])
        end_us = _time_us(flow["end"]) if "end" in flow else start_us + int(flow.get("age", 0)) * 1_000_000
        proto = str(event["proto"]).lower()
        spkts, dpkts = count(flow["pkts_toserver"]), count(flow["pkts_toclient"])
        return make_flow(
            start_us=start_us,
            dur_us=max(0, end_us - start_us),
            src=str(event["src_ip"]),
            dst=str(event["dest_ip"]),
            sport=count(event.get("src_port", event.get("icmp_type"))),
            dport=count(event.get("dest_port", event.get("icmp_code"))),
            proto=proto,
            service=str(event.get("app_proto") or ""),
            state=_state(proto, event, spkts, dpkts),
            spkts=spkts,
            dpkts=dpkts,
            sbytes=max(0, count(flow["bytes_toserver"]) - _ETHERNET_BYTES * spkts),
            dbytes=max(0, count(flow["bytes_toclient"]) - _ETHERNET_BYTES * dpkts),
        )


def _state(proto: str, event: dict[str, Any], spkts: int, dpkts: int) -> str:
    tcp: dict[str, Any] = event.get("tcp") or {}
    if proto == "tcp" and "tcp_flags_ts" not in tcp:
        return _WORDS.get(str(event["flow"].get("state")), "OTH")
    return conn_state(
        _NUMBERS.get(proto, 0),
        spkts=spkts,
        sflags=int(str(tcp.get("tcp_flags_ts", "0")), 16),
        dpkts=dpkts,
        dflags=int(str(tcp.get("tcp_flags_tc", "0")), 16),
    )


def _time_us(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1e6)
