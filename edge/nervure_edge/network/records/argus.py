"""Argus' binetflow, the form in which CTU-13 and its relatives are shared: separated by commas or tabs, with a header.

Times carry no zone and are read as UTC. Bytes are those of whole frames, so 14 bytes are taken off each packet. Argus also lists what
is no IP traffic (arp, llc, its own ``man`` records): passed over. ``State`` names the TCP flags of both sides (``FSPA_SPA``) or is a
word of Argus (``CON``, ``INT``). Labels follow CTU-13: ``Botnet`` and ``Malicious`` anywhere in the label is an attack, ``Normal`` is
benign, background traffic is not labelled.
"""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from typing import Final

from nervure_edge.network.flow import ATTACK, BENIGN, Flow
from nervure_edge.network.records.row import count, make_flow, micros
from nervure_edge.network.tcp_state import ACK, FIN, RST, STATES, SYN, conn_state

REQUIRED: Final = (
    "StartTime",
    "Dur",
    "Proto",
    "SrcAddr",
    "Sport",
    "DstAddr",
    "Dport",
    "State",
    "TotPkts",
    "TotBytes",
    "SrcBytes",
    "SrcPkts",
)
_ETHERNET_BYTES: Final = 14
_NOT_IP: Final = frozenset({"arp", "rarp", "llc", "man", "loop", "lldp", "ipx", "stp", ""})
_FLAGS: Final = {"F": FIN, "S": SYN, "R": RST, "A": ACK}
_WORDS: Final = {
    "FIN": "SF",
    "CLO": "SF",
    "CON": "S1",
    "ACC": "S1",
    "EST": "S1",
    "RST": "RSTO",
    "REQ": "S0",
    "INT": "S0",
}


def separator_of(header: str) -> str:
    """Return what separates the columns of a header."""
    return "\t" if "\t" in header else ","


class ArgusTable:
    """Reads the rows of one binetflow file.

    Args:
        header: Its first line.
    """

    def __init__(self, header: str) -> None:
        self._separator = separator_of(header)
        self._columns = header.split(self._separator)

    def row(self, line: str) -> Flow | None:
        if not line or line.startswith("StartTime"):
            return None
        words = next(csv.reader((line,), delimiter=self._separator))
        if len(words) != len(self._columns):
            raise ValueError("a row has too few or too many columns")
        values = dict(zip(self._columns, words, strict=True))
        proto = values["Proto"].strip().lower()
        if proto in _NOT_IP:
            return None
        spkts, sbytes = count(values["SrcPkts"]), count(values["SrcBytes"])
        dpkts, dbytes = count(values["TotPkts"]) - spkts, count(values["TotBytes"]) - sbytes
        label = values.get("Label", "")
        attack = "botnet" in label.lower() or "malicious" in label.lower()
        return make_flow(
            start_us=_time_us(values["StartTime"]),
            dur_us=micros(values["Dur"]),
            src=values["SrcAddr"],
            dst=values["DstAddr"],
            sport=int(values["Sport"] or "0", 0),
            dport=int(values["Dport"] or "0", 0),
            proto=proto,
            service="",
            state=_state(proto, values["State"].strip(), spkts, dpkts),
            spkts=spkts,
            dpkts=dpkts,
            sbytes=max(0, sbytes - _ETHERNET_BYTES * spkts),
            dbytes=max(0, dbytes - _ETHERNET_BYTES * dpkts) if dbytes >= 0 else dbytes,
            label=ATTACK if attack else BENIGN if "normal" in label.lower() else "",
            attack=label.removeprefix("flow=").strip() if attack else "",
        )


def _state(proto: str, state: str, spkts: int, dpkts: int) -> str:
    if proto == "udp":
        return conn_state(17, spkts=spkts, sflags=0, dpkts=dpkts, dflags=0)
    if proto != "tcp":
        return "OTH"
    if state in STATES:
        return state
    if "_" in state:
        source, _, other = state.partition("_")
        return conn_state(6, spkts=spkts, sflags=_flags(source), dpkts=dpkts, dflags=_flags(other))
    return _WORDS.get(state, "OTH")


def _flags(letters: str) -> int:
    union = 0
    for letter in letters:
        union |= _FLAGS.get(letter, 0)
    return union


def _time_us(text: str) -> int:
    moment = datetime.strptime(text.strip(), "%Y/%m/%d %H:%M:%S.%f").replace(tzinfo=UTC)
    return round(moment.timestamp() * 1e6)
