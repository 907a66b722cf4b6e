"""Child processes under supervision: each logs to a file of its own, says when it is ready, and never stays behind.

Rules:

- A child that ends before it was told to is a failure of the whole: the body of ``async with Supervisor`` is cancelled
  and ``ChildError`` names the child, its exit code and its log file.
- A child runs in a session of its own, so Ctrl-C at the terminal reaches only the supervisor, which stops the children
  in the reverse order of their start: SIGTERM, time to drain, then SIGKILL for the whole group.
- If the supervisor itself is killed, the kernel stops the children (see ``leash``).

>>> async with Supervisor(logs) as supervisor:  # doctest: +SKIP
...     hub = await supervisor.start(ChildSpec("hub-asia", argv, ready=json_ready), within_s=60)
...     hub.answer["grpc"]
'127.0.0.1:40123'
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import psutil

from nervure_core.errors import NervureError, WorldError

LEASH = Path(__file__).with_name("leash.py")
LINE_LIMIT_BYTES = 1 << 20  # a ready line or a log line longer than this is cut, not an error

LAST_WORDS_S = 1.0  # how long a child's output is still read after its end

Answer = Mapping[str, Any]


class ChildError(WorldError):
    """A child ended, or did not become ready, when it should have been running."""

    code = "child_failed"

    def __init__(self, name: str, what: str, log: Path) -> None:
        super().__init__(f"{name} {what}; its log: {log}", hint=_last_words(log))
        self.name = name
        self.log = log


def json_ready(line: str) -> Answer | None:
    """Return the object of a ``{"event": "ready", ...}`` line, or None for every other line."""
    if not line.startswith("{"):
        return None
    with contextlib.suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict) and found.get("event") == "ready":
            return found
    return None


@dataclass(frozen=True, slots=True)
class Output:
    """A pipe for a child's output.

    Not asyncio's own: with that one ``Process.wait`` returns only when the pipe is closed too (until Python 3.13), and
    whatever a child started may hold it open long after the child has died.
    """

    reader: asyncio.StreamReader
    writer: BinaryIO
    """For the child; closed here once it has it."""
    transport: asyncio.ReadTransport

    @classmethod
    async def open(cls) -> Self:
        """Make the pipe."""
        read_end, write_end = os.pipe()
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=LINE_LIMIT_BYTES)
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
        )
        return cls(reader, os.fdopen(write_end, "wb", buffering=0), transport)

    def close(self) -> None:
        """Stop reading."""
        self.transport.close()


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run.

    Args:
        name: Names the log file and every message about this child.
        argv: The command.
        ready: Looks at each line the child prints and returns its answer once it is ready; None: no wait.
        env: Variables added to ours.
        both_streams: Look for the ready line in stderr too, for servers that log there.
        grace_s: How long the child may drain after SIGTERM.
    """

    name: str
    argv: tuple[str, ...]
    ready: Callable[[str], Answer | None] | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    both_streams: bool = False
    grace_s: float = 10.0


class Child:
    """One running process; made by ``Supervisor.start``."""

    def __init__(self, spec: ChildSpec, log: Path, process: asyncio.subprocess.Process, output: Output) -> None:
        self.spec = spec
        self.log = log
        self.answer: Answer = {}
        self.last_object: Answer = {}
        """The last JSON object it printed on a line of its own: the summary of those that end with one."""
        self._process = process
        self._output = output
        self._ready: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._expected_to_end = False

    @property
    def pid(self) -> int:
        """The process id; valid while it runs."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    def expect_end(self) -> None:
        """From now on its end is no failure: somebody is about to stop or kill it."""
        self._expected_to_end = True

    async def wait(self) -> int:
        """Wait for its end and return the exit code."""
        # Not for the end of ``watch``: that one is cancelled when another child fails.
        return await self._process.wait()

    async def stop(self) -> None:
        """Stop it: SIGTERM, ``grace_s`` to drain, SIGKILL for the whole group; safe to call twice."""
        self.expect_end()
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.spec.grace_s):
                    await self.wait()
        self.kill_group()
        await self.wait()

    def kill_group(self) -> None:
        """SIGKILL whatever is left of its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def watch(self) -> None:
        """Copy its output to the log until it ends.

        Raises:
            ChildError: It ended although nobody told it to.
        """
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read())
                code = await self.wait()
                # Its own children may hold the pipe open for longer than we care.
                await asyncio.wait((reading,), timeout=LAST_WORDS_S)
                reading.cancel()
        finally:
            self._output.close()
        if self._expected_to_end:
            self._ready.cancel()
            return
        raise ChildError(self.spec.name, f"ended by itself ({_exit_words(code)})", self.log)

    async def _read(self) -> None:
        with self.log.open("ab", buffering=0) as log:
            while line := await _next_line(self._output.reader):
                log.write(line)
                self._look(line)

    def _look(self, line: bytes) -> None:
        if line.startswith(b"{"):
            with contextlib.suppress(ValueError):
                self.last_object = json.loads(line)
        if self.spec.ready is None or self._ready.done():
            return
        answer = self.spec.ready(line.decode(errors="replace").strip())
        if answer is not None:
            self._ready.set_result(answer)

    async def wait_ready(self, within_s: float) -> None:
        """Wait for the ready line and keep its answer.

        Raises:
            ChildError: It did not come within ``within_s`` seconds.
        """
        if self.spec.ready is None:
            return
        try:
            async with asyncio.timeout(within_s):
                self.answer = await self._ready
        except TimeoutError:
            raise ChildError(self.spec.name, f"was not ready within {within_s:.0f} s", self.log) from None


class Supervisor:
    """Owns children: an async context manager whose body is cancelled when one of them fails.

    Args:
        logs: The folder of the log files; made if absent.
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._children: list[Child] = []
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        finally:
            try:
                await self._group.__aexit__(kind, error, trace)
            except BaseExceptionGroup as group:
                # One message for the reader: the first failure caused the others.
                raise _first_cause(group) from None

    async def start(self, spec: ChildSpec, *, within_s: float = 60.0) -> Child:
        """Start a child and wait until it is ready.

        Raises:
            ChildError: The command can't be started, or is not ready within ``within_s`` seconds.
        """
        log = self.logs / f"{spec.name}.log"
        output = await Output.open()
        with log.open("ab") as stderr, output.writer:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    str(LEASH),
                    str(os.getpid()),
                    *spec.argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output.writer,
                    stderr=asyncio.subprocess.STDOUT if spec.both_streams else stderr,
                    env={**os.environ, **spec.env},
                    start_new_session=True,
                )
            except OSError as error:
                output.close()
                raise ChildError(spec.name, f"can't be started: {error}", log) from error
        child = Child(spec, log, process, output)
        self._children.append(child)
        self._group.create_task(child.watch(), name=f"watch {spec.name}")
        await child.wait_ready(within_s)
        return child

    async def stop(self) -> None:
        """Stop every child, the last started first; safe to call twice."""
        children, self._children = self._children[::-1], []
        for child in children:
            child.expect_end()
        for child in children:
            await child.stop()


def kill_now(pids: Iterable[int]) -> int:
    """SIGKILL these processes and all that descend from them, as a power cut would; return how many were there."""
    victims: dict[int, psutil.Process] = {}
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            victims[pid] = process
            victims.update({child.pid: child for child in process.children(recursive=True)})
    for process in victims.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return len(victims)


async def _next_line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:  # longer than the limit: readline dropped it; an empty line keeps the loop going
        return b"(a line over 1 MiB was dropped)\n"


def _exit_words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"signal {signal.Signals(-code).name}"


def _last_words(log: Path) -> str:
    """Return the last line of the log that says something, for the hint."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-20:]
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    return f"it said: {said[-1][:300]}" if said else "it said nothing"


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    for error in group.exceptions:
        found = _first_cause(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, NervureError):
            return found
    first = group.exceptions[0]
    return _first_cause(first) if isinstance(first, BaseExceptionGroup) else first
