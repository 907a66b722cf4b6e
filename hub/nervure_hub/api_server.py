"""The HTTP API as part of a hub's own event loop.

Rules: the port is bound before anything is promised; signals stay the hub's business, not uvicorn's; leaving closes the
listening socket first, then lets answers under way finish, within a bound.

>>> async with ApiServer(create_app(context, lake_query=lake.query), "127.0.0.1", 0) as api:
...     print(api.url)
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Self

import uvicorn

from nervure_hub.coordination.background import beside
from nervure_hub.ports import bind_tcp

_FINISH_S = 5


class _Quiet(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()
        self.ended = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()


class ApiServer:
    """One HTTP server; an async context manager that serves while it is open.

    Args:
        app: An ASGI application.
        host: Address.
        port: Port; 0 takes a free one.
    """

    def __init__(self, app: Any, host: str, port: int) -> None:
        self._app, self._host, self._asked_port = app, host, port
        self._stack = AsyncExitStack()
        self.port = 0

    @property
    def url(self) -> str:
        """Where it answers."""
        host = "127.0.0.1" if self._host in ("0.0.0.0", "::") else self._host  # noqa: S104 - compares
        return f"http://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        """Bind and serve.

        Raises:
            WorldError: The port is taken.
        """
        listening = bind_tcp(self._host, self._asked_port, flag="--api-port")
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=_FINISH_S,
        )
        server = _Quiet(config)
        async with AsyncExitStack() as stack:
            stack.callback(listening.close)
            await stack.enter_async_context(beside(_serve(server, listening)))
            await server.serving.wait()
            stack.push_async_callback(_stop, server)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


async def _serve(server: _Quiet, listening: Any) -> None:
    try:
        await server.serve(sockets=[listening])
    finally:
        server.ended.set()


async def _stop(server: _Quiet) -> None:
    server.should_exit = True
    async with asyncio.timeout(_FINISH_S * 2):
        await server.ended.wait()
