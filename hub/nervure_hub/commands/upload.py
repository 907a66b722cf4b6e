"""Sending a bundle's files with a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from nervure_core.bundle import MANIFEST, Bundle
from nervure_hub.commands.client import Api


class _Counted:
    """A file that says how much of it was read; the rest is the file's own."""

    def __init__(self, file: IO[bytes], step: Any) -> None:
        self._file = file
        self._step = step

    def read(self, count: int = -1) -> bytes:
        data = self._file.read(count)
        self._step(len(data))
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def push(api: Api, bundle: Bundle, query: dict[str, Any], *, quiet: bool) -> Any:
    """Send a bundle and return the hub's answer.

    Raises:
        NervureError: The hub is away or refuses.
        OSError: A file can't be read.
    """
    paths = [bundle.path(name) for name in (MANIFEST, *sorted(bundle.manifest.files))]
    with ExitStack() as stack:
        total = sum(path.stat().st_size for path in paths)
        step = stack.enter_context(_bar(f"pushing {bundle.manifest.name}", total, quiet=quiet))
        files = [("files", (path.name, _open(stack, path, step))) for path in paths]
        return api.upload("/v1/models", files, query)


def _open(stack: ExitStack, path: Path, step: Any) -> _Counted:
    return _Counted(stack.enter_context(path.open("rb")), step)


@contextmanager
def _bar(what: str, total: int, *, quiet: bool) -> Generator[Any]:
    if quiet or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)
