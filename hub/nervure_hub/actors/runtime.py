"""Ray itself: connected to, or started on this machine, quietly.

Rules: no dashboard, no usage statistics, a small object store (a hub keeps nothing in it); gRPC's fork handlers are off
in every process, since a worker that forks after gRPC has started may hang. Ray listens on every interface, whatever
address it is given: ``hub_command`` sets a token before Ray is imported, which is what keeps others out.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from nervure_core.errors import WorldError
from nervure_hub.config import HubConfig

_OBJECT_STORE_BYTES = 128 << 20
_ENVIRONMENT = {
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def take_back_signals() -> None:
    """Put this process's own signal handlers back in the place of those that Ray's core installs.

    Ray's print a stack trace for every SIGTERM and abort the process three seconds later, whatever it is doing. Does
    nothing outside the main thread, where Python may not touch handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if handler is not None:
            signal.signal(number, handler)


@contextmanager
def ray_runtime(config: HubConfig) -> Generator[None]:
    """Connect to the configured Ray cluster, or start one here; blocks for some seconds.

    Raises:
        WorldError: The cluster can't be reached, or Ray does not start.
    """
    # Ray's processes inherit these when we start it, and its workers get them by the runtime environment otherwise.
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    where = config.ray_address or "local"
    start: dict[str, Any] = {
        "num_cpus": os.cpu_count(),
        "object_store_memory": _OBJECT_STORE_BYTES,
        "_node_ip_address": "127.0.0.1",
    }
    try:
        ray.init(
            address=where,
            namespace=f"nervure-{config.region}",
            # Only where the workers can't inherit it: with one, Ray can't use the workers it has started ahead.
            runtime_env={"env_vars": _ENVIRONMENT} if config.ray_address else None,
            include_dashboard=None if config.ray_address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if config.ray_address else start),
        )
    except Exception as error:  # what Ray raises for a node that does not come up is a bare Exception
        raise WorldError(
            f"Ray at {where!r} can't be used: {str(error).strip().partition(chr(10))[0]}",
            hint="check --ray-address, or leave it out to start Ray on this machine, or use --in-process",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
