"""From the words of one row to a checked `Flow`, the same for every format.

A reader of a format knows its columns; what the words may be is decided here once: a row outside of these bounds raises `ValueError`,
which the file reader counts as one skipped row.
"""

from __future__ import annotations

import csv
import math
from typing import Final, Protocol

from nervure_edge.network.capture.block import LATEST_US
from nervure_edge.network.flow import ATTACK, BENIGN, Flow
from nervure_edge.network.services import UNKNOWN, canonical, service_of
from nervure_edge.network.tcp_state import STATES

_LARGEST_COUNT: Final = 1 << 53  # exact in a float64
_LONGEST_WORD: Final = 64
_ICMP_NAMES: Final = frozenset({"icmp", "icmp6", "icmpv6", "ipv6-icmp"})
_NO_VALUE: Final = frozenset({"", "-", "(empty)", "none", "null"})


DAMAGED: Final = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,  # JSON nested without end
    csv.Error,  # a field without end, a lone carriage return
)
"""What reading a damaged row may raise: one row is lost, never the file."""


class RowReader(Protocol):
    """Reads the rows of one file, after its format and header are known."""

    def row(self, line: str) -> Flow | None:
        """Return the flow of a line, None where the line is no flow (a comment, an event of another kind).

        Raises:
            Exception: One of `DAMAGED` if the line should be one and is damaged.
        """
        ...


def make_flow(
    *,
    start_us: int,
    dur_us: int,
    src: str,
    dst: str,
    sport: int,
    dport: int,
    proto: str,
    service: str,
    state: str,
    spkts: int,
    dpkts: int,
    sbytes: int,
    dbytes: int,
    label: str = "",
    attack: str = "",
    site: str = "",
) -> Flow:
    """Check the values of a row and fold its words into the vocabularies.

    Where the row names no service, the ports do, as for flows measured here.

    Raises:
        ValueError: If a value is out of its bounds.
    """
    if not 0 <= start_us < LATEST_US or not 0 <= dur_us < LATEST_US:
        raise ValueError("a time is out of range")
    if not 0 <= sport <= 0xFFFF or not 0 <= dport <= 0xFFFF:
        raise ValueError("a port is out of range")
    if not all(0 <= count <= _LARGEST_COUNT for count in (spkts, dpkts, sbytes, dbytes)):
        raise ValueError("a counter is out of range")
    src, dst, proto = src.strip(), dst.strip(), proto.strip().lower()
    for word in (src, dst, proto):
        if not 0 < len(word) <= _LONGEST_WORD or not word.isprintable() or " " in word:
            raise ValueError("an address or protocol is missing or no word")
    if proto in _ICMP_NAMES:
        proto = "icmp"
    service = canonical("" if service in _NO_VALUE else service)
    if service == UNKNOWN:
        service = service_of(proto, sport, dport)
    return Flow(
        start_us=start_us,
        dur_us=dur_us,
        src=src,
        dst=dst,
        sport=sport,
        dport=dport,
        proto=proto,
        service=service,
        state=state if state in STATES else "OTH",
        spkts=spkts,
        dpkts=dpkts,
        sbytes=sbytes,
        dbytes=dbytes,
        label=label,
        attack=attack,
        site=site,
    )


def micros(seconds: str | float | None) -> int:
    """Return seconds as whole microseconds; 0 where there is no value.

    Raises:
        ValueError: If it is no finite number.
    """
    if seconds is None or (isinstance(seconds, str) and seconds in _NO_VALUE):
        return 0
    value = float(seconds)
    if not math.isfinite(value):
        raise ValueError("a time is not finite")
    return round(value * 1e6)


def count(word: str | float | None) -> int:
    """Return a counter; 0 where there is no value.

    Raises:
        ValueError: If it is no whole number.
    """
    if word is None or (isinstance(word, str) and word in _NO_VALUE):
        return 0
    return int(word)


def ground_truth(label: str, kind: str = "") -> tuple[str, str]:
    """Return our label and the kind of attack for the words of a labelled data set.

    Args:
        label: Such as ``Benign``, ``Malicious``, ``normal``, ``From-Botnet``.
        kind: A more exact word for attacks, where the data have one.
    """
    word = label.strip().lower()
    if word in _NO_VALUE or word in {"unknown", "background"}:
        return "", ""
    if word in {"benign", "normal"}:
        return BENIGN, ""
    name = kind.strip() if kind.strip().lower() not in _NO_VALUE else label.strip()
    return ATTACK, "" if name.lower() in {"attack", "malicious"} else name
