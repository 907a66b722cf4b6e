"""The hub's API as a real server over twins, in a thread of its own: for tests of clients that block."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import uvicorn
from tests.support.hub import FleetTwin, hub_context

from nervure_core.errors import InputError, InternalError, WorldError
from nervure_hub.api import QueryResult, create_app
from nervure_hub.context import HubContext

Answer = tuple[Sequence[str], Sequence[Sequence[Any]]]


@dataclass
class LakeTwin:
    """Answers what it is given and remembers what it was asked; some words make it fail."""

    columns: tuple[str, ...] = ("label", "n")
    rows: Sequence[Sequence[Any]] = ()
    answer: Callable[[str], Answer] | None = None
    asked: list[str] = field(default_factory=list[str])

    async def query(self, sql: str) -> QueryResult:
        self.asked.append(sql)
        if "SELEKT" in sql:
            raise InputError("syntax error at or near 'SELEKT'", hint="the table is called events")
        if "bug" in sql:
            raise InternalError("secret detail of a bug")
        if "away" in sql:
            raise WorldError("the lake's folder is away", hint="mount it")
        if "crash" in sql:
            raise ZeroDivisionError("secret detail of a crash")
        columns, rows = self.answer(sql) if self.answer else (self.columns, self.rows)
        return QueryResult(tuple(columns), rows, truncated=len(rows) > 5)


@dataclass
class ServedHub:
    """Where it answers, and the twins behind it."""

    url: str
    fleet: FleetTwin
    lake: LakeTwin
    context: HubContext


@contextmanager
def serve_hub() -> Generator[ServedHub]:
    """Serve until the context ends."""
    fleet, lake = FleetTwin(), LakeTwin()
    context = hub_context(fleet)
    app = create_app(context, lake_query=lake.query, extra_routers=[])
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
    thread = Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        # The socket listens already: a client that comes before the server is ready waits in its queue.
        yield ServedHub(f"http://127.0.0.1:{listener.getsockname()[1]}", fleet, lake, context)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
