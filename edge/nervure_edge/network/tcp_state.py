"""How a conversation went, in the thirteen words of Zeek's ``conn_state``.

The vocabulary is the oldest one in use for flows (Paxson, *Bro: a system for detecting network intruders in real-time*,
Computer Networks 31, 1999; Zeek's ``base/protocols/conn``), it separates scans and floods from conversations better than
Argus' words do, and Zeek logs and IoT-23 carry it already.

    S0      opened, nobody answered                  SF      opened and closed by both
    S1      opened, not closed                       REJ     opened, refused by a reset
    S2, S3  opened, closed by the opener / other     RSTO    open, reset by the opener; RSTR: by the other
    SH      SYN then FIN from the opener, no answer  SHR     the same from the other side alone
    RSTOS0  SYN then RST from the opener, no answer  RSTRH   reset by the other, the opening was not seen
    OTH     the opening was not seen

Laws:

1. A side's own history is summed up in one of six words (`Side`), made from whether it spoke and which of SYN, FIN and RST it
   ever sent; their order inside one side does not matter, except that a reset *without* an own SYN is a refusal.
2. The state is a pure function of the two sides: the table below, every cell written out.
3. A reset by the asked side weighs more than one by the opener, a reset more than a FIN, a FIN more than being open.
4. UDP has three words: S0 (only the opener spoke), SF (both), SHR (only the other); everything else is OTH.

>>> conn_state(6, spkts=3, sflags=SYN | ACK, dpkts=1, dflags=SYN | ACK)
'S1'
>>> conn_state(6, spkts=1, sflags=SYN, dpkts=1, dflags=RST | ACK)
'REJ'
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10

STATES: Final = ("S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH")
"""The words of ``state`` in the order of their one-hot columns in flow.v1 (fixed for ever)."""


class Side(IntEnum):
    """What one side of a TCP conversation did."""

    SILENT = 0
    PARTIAL = 1  # spoke, but its SYN was not seen
    OPEN = 2
    CLOSED = 3  # sent a FIN
    REFUSED = 4  # sent a RST and never a SYN
    RESET = 5  # sent a RST after its SYN


def side_of(packets: int, flags: int) -> Side:
    """Sum up one side from its packets and the union of its TCP flags."""
    if not packets and not flags:  # flags without packets: an earlier record of the same conversation had them
        return Side.SILENT
    if flags & RST:
        return Side.RESET if flags & SYN else Side.REFUSED
    if flags & FIN:
        return Side.CLOSED
    return Side.OPEN if flags & SYN else Side.PARTIAL


# Rows: the opener. Columns: the side that was asked, in the order of Side.
#              SILENT    PARTIAL   OPEN    CLOSED   REFUSED  RESET
TABLE: Final[tuple[tuple[str, ...], ...]] = (
    ("OTH", "OTH", "OTH", "SHR", "RSTRH", "RSTRH"),  # SILENT
    ("OTH", "OTH", "OTH", "SHR", "RSTRH", "RSTRH"),  # PARTIAL
    ("S0", "OTH", "S1", "S3", "REJ", "RSTR"),  # OPEN
    ("SH", "SH", "S2", "SF", "RSTR", "RSTR"),  # CLOSED
    ("RSTOS0", "RSTOS0", "RSTO", "RSTO", "RSTR", "RSTR"),  # REFUSED
    ("RSTOS0", "RSTOS0", "RSTO", "RSTO", "REJ", "RSTR"),  # RESET
)


_BY_FLAGS: Final = tuple([side_of(number & 8, number & 7) for number in range(16)])
_STATES: Final = tuple([tuple([TABLE[source][other] for other in _BY_FLAGS]) for source in _BY_FLAGS])


def conn_state(protocol: int, *, spkts: int, sflags: int, dpkts: int, dflags: int) -> str:
    """Return the state of a conversation.

    Args:
        protocol: IP protocol number.
        spkts: Packets of the opener.
        sflags: Union of the opener's TCP flags; 0 for other protocols.
        dpkts: Packets of the side that was asked.
        dflags: Union of that side's TCP flags.
    """
    if protocol == 6:
        return _STATES[sflags & 7 | (8 if spkts else 0)][dflags & 7 | (8 if dpkts else 0)]
    if protocol == 17:
        if spkts:
            return "SF" if dpkts else "S0"
        return "SHR" if dpkts else "OTH"
    return "OTH"
