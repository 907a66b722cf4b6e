"""What lives on a range site and what may attack it: the vocabulary the planner draws from.

Rules:
    1. Tables only: no IO, no randomness. The planner (`plan`) draws, the shells (`world`, `assault`, `benign`) act.
    2. Every behaviour names the service it talks to, so that the planner can find a server for it.
    3. An attack kind lists the regions where it exists. Some exist in one region only: an agent elsewhere can learn
       them through the federation and in no other way.

Example:
    >>> ATTACKS["slowloris"].regions
    ('asia',)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

REGIONS: tuple[str, ...] = ("americas", "europe", "asia")


@dataclass(frozen=True, slots=True)
class AttackKind:
    """One kind of attack: where it exists, what it needs and how it is recognised afterwards."""

    regions: tuple[str, ...]
    """Regions whose sites may suffer it."""
    protocol: str
    """Transport of the attacker's own packets: "tcp", "udp" or "icmp"."""
    service: str = ""
    """Service it is aimed at; empty: the whole host or network."""
    ports: tuple[int, ...] | None = None
    """Destination ports; None: any."""
    insider: bool = False
    """Whether a compromised device of the site may run it."""
    most_flows: int = 40
    """Upper bound of flows that one episode is asked to make."""


def _frozen(table: dict[str, AttackKind]) -> Mapping[str, AttackKind]:
    return MappingProxyType(table)


ATTACKS: Mapping[str, AttackKind] = _frozen(
    {
        "syn_scan": AttackKind(REGIONS, "tcp", most_flows=60),
        "syn_flood": AttackKind(REGIONS, "tcp", "http", (80,)),
        "ssh_guessing": AttackKind(REGIONS, "tcp", "ssh", (22,), insider=True, most_flows=36),
        "connect_scan": AttackKind(("americas", "europe"), "tcp", most_flows=60),
        "sweep": AttackKind(("americas", "asia"), "tcp", "", (23, 2323), insider=True, most_flows=60),
        "udp_scan": AttackKind(("europe", "asia"), "udp", most_flows=30),
        "udp_flood": AttackKind(("americas", "asia"), "udp", "", None),
        "ftp_guessing": AttackKind(("americas",), "tcp", "ftp", (21,), most_flows=36),
        "icmp_flood": AttackKind(("americas",), "icmp", most_flows=30),
        "mqtt_guessing": AttackKind(("europe",), "tcp", "mqtt", (1883,), insider=True),
        "dns_tunnel": AttackKind(("europe",), "udp", "", (53,), insider=True),
        "slow_scan": AttackKind(("europe",), "tcp", most_flows=20),
        "mqtt_flood": AttackKind(("asia",), "tcp", "mqtt", (1883,), insider=True),
        "slowloris": AttackKind(("asia",), "tcp", "http", (80,), most_flows=30),
    }
)
"""Attack kinds by name."""

SERVICES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "http": ("tcp", 80),
        "https": ("tcp", 443),
        "ssh": ("tcp", 22),
        "ftp": ("tcp", 21),
        "telnet": ("tcp", 23),
        "mqtt": ("tcp", 1883),
        "modbus": ("tcp", 502),
        "cloud": ("tcp", 8883),
        "dns": ("udp", 53),
        "ntp": ("udp", 123),
        "coap": ("udp", 5683),
        "syslog": ("udp", 514),
        "rtp": ("udp", 5004),
        "ping": ("icmp", 0),
    }
)
"""Transport and port of each service of the range."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One habit of a device: what it does, with which service, how often and how big."""

    action: str
    """Name of the coroutine in `benign` that performs it."""
    service: str
    """Service it needs; empty: none (multicast, dark addresses)."""
    gap_s: float
    """Mean seconds between two events (exponential)."""
    size: tuple[int, int] = (0, 0)
    """Range of bytes or repetitions, drawn per event; the action says which."""


def _habits(*rows: Behaviour) -> tuple[Behaviour, ...]:
    return (*rows, Behaviour("dns", "dns", 14.0, (1, 3)), Behaviour("ntp", "ntp", 40.0, (1, 2)))


DEVICES: Mapping[str, tuple[Behaviour, ...]] = MappingProxyType(
    {
        "camera": _habits(
            Behaviour("rtp_push", "rtp", 20.0, (60, 260)),
            Behaviour("http_post", "http", 10.0, (8_000, 60_000)),
            Behaviour("keepalive", "cloud", 18.0, (3, 8)),
        ),
        "thermostat": _habits(
            Behaviour("mqtt_publish", "mqtt", 8.0, (20, 200)),
            Behaviour("coap", "coap", 9.0, (1, 3)),
        ),
        "plug": _habits(
            Behaviour("keepalive", "cloud", 14.0, (2, 6)),
            Behaviour("mdns", "", 15.0, (1, 3)),
        ),
        "speaker": _habits(
            Behaviour("https_get", "https", 8.0, (2_000, 120_000)),
            Behaviour("stream", "http", 25.0, (60_000, 400_000)),
            Behaviour("mdns", "", 20.0, (1, 2)),
        ),
        "gateway": _habits(
            Behaviour("mqtt_listen", "mqtt", 20.0, (5, 15)),
            Behaviour("http_get", "http", 6.0, (200, 4_000)),
            Behaviour("syslog", "syslog", 9.0, (1, 4)),
        ),
        "workstation": _habits(
            Behaviour("browse", "http", 7.0, (1_000, 80_000)),
            Behaviour("https_get", "https", 6.0, (1_000, 150_000)),
            Behaviour("ssh_run", "ssh", 22.0, (100, 40_000)),
            Behaviour("ftp_get", "ftp", 30.0, (2_000, 200_000)),
            Behaviour("bulk", "http", 40.0, (300_000, 2_000_000)),
        ),
        "phone": _habits(
            Behaviour("https_get", "https", 5.0, (800, 90_000)),
            Behaviour("browse", "http", 14.0, (1_000, 40_000)),
            Behaviour("dark", "", 35.0, (1, 1)),
        ),
        "plc": _habits(
            Behaviour("modbus", "modbus", 7.0, (3, 20)),
            Behaviour("syslog", "syslog", 12.0, (1, 3)),
        ),
        "nas": _habits(
            Behaviour("ftp_put", "ftp", 16.0, (5_000, 300_000)),
            Behaviour("ssh_run", "ssh", 20.0, (10_000, 200_000)),
            Behaviour("mdns", "", 18.0, (1, 3)),
        ),
        # Innocent traffic that looks like trouble: probes of a monitoring server, a user who mistypes a password, a
        # service that is down. Without these a model would learn that every refused connection is an attack.
        "monitor": _habits(
            Behaviour("ping", "ping", 9.0, (2, 5)),
            Behaviour("check", "http", 7.0, (1, 1)),
            Behaviour("check", "ssh", 12.0, (1, 1)),
            Behaviour("refused", "http", 16.0, (1, 2)),
            Behaviour("http_get", "http", 8.0, (100, 900)),
        ),
        "operator": _habits(
            Behaviour("ssh_run", "ssh", 12.0, (100, 30_000)),
            Behaviour("ssh_mistyped", "ssh", 40.0, (1, 1)),
            Behaviour("ftp_mistyped", "ftp", 45.0, (1, 1)),
            Behaviour("telnet", "telnet", 30.0, (3, 8)),
            Behaviour("browse", "http", 12.0, (1_000, 50_000)),
        ),
    }
)
"""Habits of each kind of device."""

PROFILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "home": ("camera", "thermostat", "plug", "plug", "speaker", "phone", "phone"),
        "office": ("workstation", "workstation", "workstation", "phone", "nas", "operator"),
        "factory": ("plc", "plc", "plc", "plc", "gateway", "monitor", "operator"),
        "shop": ("camera", "camera", "gateway", "workstation", "phone", "monitor"),
        "clinic": ("workstation", "workstation", "thermostat", "nas", "gateway", "operator"),
        "farm": ("thermostat", "thermostat", "thermostat", "gateway", "camera", "plc"),
        "campus": ("phone", "phone", "phone", "workstation", "speaker", "monitor"),
        "estate": ("camera", "camera", "camera", "camera", "nas", "gateway"),
        "lab": ("workstation", "nas", "nas", "operator", "plc", "monitor"),
        "depot": ("gateway", "plug", "plug", "plc", "monitor", "speaker", "operator"),
    }
)
"""Device mixes: the sites of a region walk through them, so that no two neighbours look alike."""
