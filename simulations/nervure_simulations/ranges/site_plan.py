"""What a plan consists of: devices, servers, innocent events and attack episodes of one site, as plain data."""

from dataclasses import dataclass, field

from nervure_simulations.ranges.addresses import AddressPlan

CUT = 0.70
"""Share of the capture's time that an agent may learn from."""


@dataclass(frozen=True, slots=True)
class Device:
    """One innocent device; `home` is the namespace it lives in ("lan", or "bot" if an attacker owns it too)."""

    name: str
    kind: str
    address: str
    home: str = "lan"


@dataclass(frozen=True, slots=True)
class Server:
    """One service at one address."""

    service: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class BenignEvent:
    """One thing an innocent device does, `at_s` seconds after the start."""

    at_s: float
    home: str
    source: str
    action: str
    target: str
    port: int
    size: int
    seed: int


@dataclass(frozen=True, slots=True)
class Episode:
    """One run of an attack: what it may touch (its label follows from that) and how much it is asked to do."""

    kind: str
    at_s: float
    most_s: float
    home: str
    sources: tuple[str, ...]
    """Addresses or networks it sends from."""
    targets: tuple[str, ...]
    """Addresses or networks it is aimed at; empty: anything."""
    protocol: str
    ports: tuple[int, ...] | None
    flows: int
    options: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class SitePlan:
    """Everything that will happen on one site."""

    site: str
    region: str
    profile: str
    seed: int
    seconds: float
    addresses: AddressPlan
    devices: tuple[Device, ...]
    servers: tuple[Server, ...]
    events: tuple[BenignEvent, ...]
    episodes: tuple[Episode, ...]

    @property
    def attacks(self) -> tuple[str, ...]:
        """The kinds of attack of this site, sorted."""
        return tuple(sorted({episode.kind for episode in self.episodes}))

    @property
    def cut_s(self) -> float:
        """Seconds after the start at which the held-out part begins."""
        return self.seconds * CUT
