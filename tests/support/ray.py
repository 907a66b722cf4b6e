"""One real Ray for all tests of a run, in a process of its own: the node that a fleet's hubs share.

Not started by the tests' own process: Ray forks its servers from whoever starts it, and this one has by then run
hundreds of tests' threads and gRPC channels, which a forked child inherits half alive.

>>> with RayServer.start() as server:
...     ray.init(address=server.address)
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RayServer:
    """A running Ray node."""

    address: str

    @classmethod
    @contextmanager
    def start(cls) -> Generator[RayServer]:
        """Run a node until the context ends; it takes our environment's secret."""
        command = [sys.executable, "-m", "nervure_simulations.servers.ray_node", "2"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield cls(str(json.loads(process.stdout.readline())["address"]))
            finally:
                process.terminate()
                process.wait()
