"""One Ray runtime for all hubs of a machine, held by a process of its own.

Run as ``python -m nervure_simulations.servers.ray_node FOLDER``: starts a Ray head node, prints one ready line with its
address, and holds it until SIGTERM. The node's processes are Ray's own children of this one and die with it, so a
fleet that is stopped, or killed, leaves no Ray session behind.

Rules: the dashboard stays off and the object store small, since hubs keep nothing in it; Ray's own folder lies in the
system's temporary folder because its socket paths must be short, and is removed at the end.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nervure_simulations.servers.child import ChildSpec, Supervisor, json_ready

OBJECT_STORE_BYTES = 100 << 20
READY_WITHIN_S = 60.0
TWIN = "coordination"
"""The name by which hubs without an etcd find the store."""


@dataclass(frozen=True, slots=True)
class RayNode:
    """A running Ray runtime."""

    address: str
    token: str
    """The secret that lets others connect; made for this runtime and known to nobody else."""

    @property
    def env(self) -> dict[str, str]:
        """Variables for a process that is to connect."""
        return token_env(self.token)


def token_env(token: str) -> dict[str, str]:
    """Return the variables by which Ray takes a token from us instead of one for the whole account."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}


async def ray_node(supervisor: Supervisor, *, cpus: int = 2, twin: bool = False) -> RayNode:
    """Start a Ray runtime under a supervisor.

    Args:
        supervisor: Owns the process.
        cpus: How many cores Ray may count on.
        twin: Also hold the coordination store's twin, for hubs without an etcd. It would otherwise belong to the hub
            that came first and go with that one.

    Raises:
        ChildError: It did not start.
    """
    token = secrets.token_hex(32)
    argv = (sys.executable, "-m", "nervure_simulations.servers.ray_node", str(cpus), *(["twin"] if twin else []))
    spec = ChildSpec("ray", argv, ready=json_ready, env=token_env(token), grace_s=15.0)
    child = await supervisor.start(spec, within_s=READY_WITHIN_S)
    return RayNode(str(child.answer["address"]), token)


def _keep_twin() -> object:
    """Make the store that hubs without an etcd share; it lives as long as what is returned."""
    import ray

    from nervure_hub.coordination.ray_store import store_actor

    keeper = store_actor(TWIN, None)
    ray.get(keeper.__ray_ready__.remote())
    return keeper


def main() -> None:
    """Hold a Ray head node until SIGTERM."""
    # Blocked before Ray starts its threads, so that only sigwait below sees them.
    wanted = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns about its own next default
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    folder = Path(tempfile.mkdtemp(prefix="nervure-ray-"))
    try:
        ray.init(
            num_cpus=int(sys.argv[1]),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",  # Ray listens on all interfaces all the same: the token keeps others out
            log_to_driver=False,
            configure_logging=False,
            _temp_dir=str(folder),
        )
        keeper = _keep_twin() if "twin" in sys.argv else None
        address = ray.get_runtime_context().gcs_address
        sys.stdout.write(json.dumps({"event": "ready", "address": address, "folder": str(folder)}) + "\n")
        sys.stdout.flush()
        signal.sigwait(wanted)
        del keeper
        ray.shutdown()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
