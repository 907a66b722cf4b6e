"""Labels by construction: which flows of a capture were the attack.

Rules:
    1. A flow is the attack if it began inside an episode's window, one end is one of the episode's sources, and, where
       the episode names targets or ports, the other end and its port match too. Either direction counts: the reply of
       a victim that the meter saw first is part of the attack.
    2. ICMP errors that an attack provokes (port unreachable) belong to it, whatever its own transport.
    3. Where several episodes match, the one that says most (ports before targets before neither) names the kind.
    4. Windows are what really happened (from the clock of the capture), not what was planned.

Example:
    >>> scan = Window("syn_scan", 1_000_000, 3_000_000, ("198.18.0.10",), ("10.0.0.5",), "tcp", None)
    >>> label_of([scan], start_us=1_500_000, source="198.18.0.10", target="10.0.0.5", port=443, protocol="tcp")
    'syn_scan'
    >>> label_of([scan], start_us=1_500_000, source="10.0.0.9", target="10.0.0.5", port=443, protocol="tcp")
    ''
"""

import ipaddress
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from nervure_core.errors import InputError

SLACK_US = 250_000
"""A flow may seem to begin a little before its tool was started: two clocks are read one after the other."""


@dataclass(frozen=True, slots=True)
class Window:
    """One episode as it happened, in microseconds of the capture's clock."""

    kind: str
    start_us: int
    end_us: int
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    protocol: str
    ports: tuple[int, ...] | None

    @property
    def says(self) -> int:
        """How much the window pins down: the more, the sooner it is asked."""
        return 2 * (self.ports is not None) + bool(self.targets)


@lru_cache(maxsize=4096)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)


@lru_cache(maxsize=65536)
def _within(address: str, networks: tuple[str, ...]) -> bool:
    host = ipaddress.ip_address(address)
    return any(host.version == _network(text).version and host in _network(text) for text in networks)


def _matches(window: Window, source: str, target: str, port: int, protocol: str) -> bool:
    if not _within(source, window.sources):
        return False
    if window.targets and not _within(target, window.targets):
        return False
    if protocol == "icmp":
        return True
    return protocol == window.protocol and (window.ports is None or port in window.ports)


def label_of(
    windows: Sequence[Window],
    *,
    start_us: int,
    source: str,
    target: str,
    port: int,
    protocol: str,
    source_port: int = 0,
) -> str:
    """Return the kind of attack a flow belongs to, or an empty string for an innocent one.

    Args:
        windows: The site's episodes.
        start_us: First packet of the flow, microseconds since the epoch.
        source: Address that sent the first packet seen.
        target: The other end.
        port: Port of the target (0 where there is none).
        protocol: "tcp", "udp" or "icmp".
        source_port: Port of the source: looked at when the attacker is the flow's target.
    """
    best: Window | None = None
    for window in windows:
        if not window.start_us - SLACK_US <= start_us <= window.end_us + SLACK_US:
            continue
        forward = _matches(window, source, target, port, protocol)
        if forward or _matches(window, target, source, source_port, protocol):
            best = window if best is None or window.says > best.says else best
    return best.kind if best else ""


def write_truth(path: Path, windows: Iterable[Window], facts: dict[str, Any]) -> None:
    """Write the ground truth of one capture beside it, as JSON."""
    path.write_text(json.dumps({**facts, "windows": [asdict(window) for window in windows]}, indent=1) + "\n")


def read_truth(path: Path) -> tuple[tuple[Window, ...], dict[str, Any]]:
    """Read a ground-truth file: the windows, and the other facts as they were written.

    Raises:
        InputError: The file is not there or is not a ground-truth file.
    """
    try:
        facts: dict[str, Any] = json.loads(path.read_text())
        windows = tuple(
            Window(
                kind=str(row["kind"]),
                start_us=int(row["start_us"]),
                end_us=int(row["end_us"]),
                sources=tuple(row["sources"]),
                targets=tuple(row["targets"]),
                protocol=str(row["protocol"]),
                ports=None if row["ports"] is None else tuple(int(port) for port in row["ports"]),
            )
            for row in facts.pop("windows")
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not a ground-truth file ({error})", hint="it is written by nervure range build"
        ) from error
    return windows, facts
