"""Coordination between hubs: leases, watches, compare-and-swap, elections with fencing; etcd or a twin."""

from pathlib import Path

from nervure_core.clock import Clock, SystemClock
from nervure_core.errors import ConfigurationError
from nervure_hub.coordination.contract import (
    ELECTION_PREFIX,
    Compacted,
    Coordination,
    FencedOut,
    KeyValue,
    Leadership,
    Lease,
    LeaseLost,
    Listing,
    StoreUnreachable,
    WatchEvent,
)
from nervure_hub.coordination.follow import follow
from nervure_hub.coordination.shared import MemoryCoordination

__all__ = [
    "ELECTION_PREFIX",
    "Compacted",
    "Coordination",
    "FencedOut",
    "KeyValue",
    "Leadership",
    "Lease",
    "LeaseLost",
    "Listing",
    "MemoryCoordination",
    "StoreUnreachable",
    "WatchEvent",
    "follow",
    "open_coordination",
]


def open_coordination(url: str, *, clock: Clock | None = None) -> Coordination:
    """Return the store that a URL names; it connects at its first call.

    Args:
        url: ``etcd://host:port,host:port``; ``ray:NAME`` (one store for the processes of one Ray cluster);
            ``memory:`` (a new store for this process alone). ``ray:NAME?/a/file`` and ``memory:?/a/file`` keep in that
            file what no lease owns, over a restart.
        clock: Measures leases; the machine's clock when absent.

    Raises:
        ConfigurationError: The URL is none of these.
        WorldError: The file can't be read.
    """
    clock = clock or SystemClock()
    kind, _, rest = url.partition(":")
    name, _, path = rest.partition("?")
    file = Path(path) if path else None
    # The clients are heavy (grpc stubs, Ray) and only one is ever needed.
    if kind == "etcd":
        from nervure_hub.coordination.etcd import EtcdCoordination, parse_endpoints

        return EtcdCoordination(parse_endpoints(rest.removeprefix("//")), clock=clock)
    if kind == "ray" and name:
        from nervure_hub.coordination.ray_store import RayCoordination

        return RayCoordination(name, clock, file)
    if kind == "memory" and not name:
        return MemoryCoordination(clock, file)
    raise ConfigurationError(
        f"coordination store {url!r} is not understood", hint="use etcd://host:port, ray:NAME or memory:"
    )
