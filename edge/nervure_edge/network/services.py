"""Which service a flow asks for, told from ports alone: no payload is looked at.

Rules:

- The destination's port decides; the source's port only for FTP data in active mode, where the server calls back.
- Names are those of Zeek's ``service`` column where Zeek has one, so that flows measured here and flows read from Zeek speak
  one vocabulary. ``"-"`` means that the port says nothing.
- `canonical` folds the names of other tools into this vocabulary; what it can't fold is ``"other"``.

The vocabulary is part of the feature schema flow.v1: its order is fixed for ever, a new word means a new schema.

>>> service_of("tcp", 50312, 22), service_of("udp", 40000, 40001), canonical("ssl,http")
('ssh', '-', 'ssl')
"""

from __future__ import annotations

from typing import Final

UNKNOWN: Final = "-"
OTHER: Final = "other"

SERVICES: Final = (
    UNKNOWN,
    "http",
    "ssl",
    "dns",
    "ssh",
    "telnet",
    "ftp",
    "ftp-data",
    "mail",
    "irc",
    "dhcp",
    "ntp",
    "snmp",
    "mqtt",
    "coap",
    "smb",
    "rdp",
    "sip",
    "database",
    "discovery",
    OTHER,
)
"""The words of ``service`` in the order of their one-hot columns."""

_TCP: Final[dict[int, str]] = {
    **dict.fromkeys((80, 81, 591, 3128, 5000, 8000, 8008, 8080, 8081, 8088, 8888, 37215, 52869), "http"),
    **dict.fromkeys((443, 853, 4443, 5061, 8443, 9443), "ssl"),
    **dict.fromkeys((25, 110, 143, 465, 587, 993, 995, 2525), "mail"),
    **dict.fromkeys((6660, 6661, 6662, 6663, 6664, 6665, 6666, 6667, 6668, 6669, 6697, 7000), "irc"),
    **dict.fromkeys((139, 445), "smb"),
    **dict.fromkeys((1433, 1521, 3306, 5432, 5984, 6379, 9200, 11211, 27017), "database"),
    **dict.fromkeys((1883, 8883), "mqtt"),
    **dict.fromkeys((22, 2222), "ssh"),
    **dict.fromkeys((23, 2323), "telnet"),
    20: "ftp-data",
    21: "ftp",
    53: "dns",
    3389: "rdp",
    5060: "sip",
}
_UDP: Final[dict[int, str]] = {
    **dict.fromkeys((67, 68, 546, 547), "dhcp"),
    **dict.fromkeys((161, 162), "snmp"),
    **dict.fromkeys((137, 138, 1900, 3702, 5353, 5355, 6666, 6667), "discovery"),
    **dict.fromkeys((5683, 5684), "coap"),
    **dict.fromkeys((80, 443), "ssl"),  # QUIC: always encrypted
    53: "dns",
    123: "ntp",
    3389: "rdp",
    5060: "sip",
    11211: "database",
}
_BY_PROTOCOL: Final[dict[str, dict[int, str]]] = {"tcp": _TCP, "udp": _UDP}

_FOLDED: Final[dict[str, str]] = {
    **{name: name for name in SERVICES},
    "": UNKNOWN,
    "failed": UNKNOWN,  # Suricata: looked, found nothing
    "https": "ssl",
    "tls": "ssl",
    "quic": "ssl",
    "http2": "http",
    "ftp_data": "ftp-data",
    "smtp": "mail",
    "imap": "mail",
    "pop3": "mail",
    "dhcpv6": "dhcp",
    "dce_rpc": "smb",
    "dcerpc": "smb",
    "gssapi": "smb",
    "ntlm": "smb",
    "netbios": "smb",
    "mysql": "database",
    "pgsql": "database",
    "postgresql": "database",
    "redis": "database",
    "mongodb": "database",
    "ssdp": "discovery",
    "mdns": "discovery",
    "llmnr": "discovery",
}


def service_of(proto: str, sport: int, dport: int) -> str:
    """Return the service that the ports of a flow stand for.

    Args:
        proto: Name of the transport protocol, ``"tcp"`` or ``"udp"``; others have no services.
        sport: Port of the side that opened the flow.
        dport: Port of the side that was asked.
    """
    ports = _BY_PROTOCOL.get(proto)
    if ports is None:
        return UNKNOWN
    return ports.get(dport) or ("ftp-data" if sport == 20 and proto == "tcp" else UNKNOWN)


def looks_like_server(proto: str, port: int) -> bool:
    """Return whether a well-known service listens on this port."""
    return port in _BY_PROTOCOL.get(proto, {})


def canonical(name: str) -> str:
    """Fold another tool's name of a service (or a comma-separated list, outermost first) into our vocabulary."""
    for part in name.split(","):
        word = _FOLDED.get(part.strip().lower())
        if word is not None:
            return word
    return OTHER
