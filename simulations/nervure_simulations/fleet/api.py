"""What the runner asks of a hub, over its HTTP API: the same one that the commands use.

Rules: one client a hub, every call bounded in time; an answer that says no becomes ``HubRefusedError`` with the hub's own
words, a hub that does not answer becomes ``HubSilentError``.

>>> async with HubApi("europe", "http://127.0.0.1:7444") as hub:  # doctest: +SKIP
...     await hub.push_bundle(Path("out/start"), deploy=True)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from nervure_core.errors import PeerError, WorldError

CALL_S = 20.0
LOOK_S = 5.0  # for what is asked once a second: a busy hub's answer would be old anyway


class HubSilentError(WorldError):
    """A hub's API does not answer."""

    code = "hub_silent"


class HubRefusedError(PeerError):
    """A hub's API said no."""

    code = "hub_refused"


class HubApi:
    """One hub's API.

    Args:
        region: For messages.
        url: Where it is.
    """

    def __init__(self, region: str, url: str) -> None:
        self.region = region
        self._client = httpx.AsyncClient(base_url=url, timeout=CALL_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def stats(self) -> dict[str, Any]:
        """Return the hub's counters, its memory and the ids of its processes."""
        return await self._ask("GET", "/v1/stats", within_s=LOOK_S)

    async def devices(self, *, full: bool = False) -> list[dict[str, Any]]:
        """Return the agents that the hub has seen; ``full`` adds latency histograms."""
        answer = await self._ask(
            "GET", "/v1/devices", params={"detail": "full" if full else "summary"}, within_s=LOOK_S
        )
        return list(answer["devices"])

    async def push_bundle(self, folder: Path, *, deploy: bool) -> dict[str, Any]:
        """Push a bundle and, if asked to, want it on all agents."""
        with ExitStack() as stack:
            paths = sorted(path for path in await asyncio.to_thread(lambda: list(folder.iterdir())) if path.is_file())
            files = [("files", (path.name, stack.enter_context(path.open("rb")))) for path in paths]
            return await self._ask("POST", "/v1/models", params={"deploy": str(deploy).lower()}, files=files)

    async def models(self) -> dict[str, Any]:
        """Return all releases and what is desired."""
        return await self._ask("GET", "/v1/models")

    async def start_rounds(self, spec: Mapping[str, Any]) -> str:
        """Ask for a federated run and return its id."""
        return str((await self._ask("POST", "/v1/rounds", json=dict(spec)))["run_id"])

    async def run(self, run_id: str) -> dict[str, Any]:
        """Return a federated run with all its rounds."""
        return await self._ask("GET", f"/v1/rounds/{run_id}", within_s=LOOK_S)

    async def _ask(self, method: str, path: str, *, within_s: float = CALL_S, **more: Any) -> dict[str, Any]:
        try:
            answer = await self._client.request(method, path, timeout=within_s, **more)
        except httpx.HTTPError as error:
            raise HubSilentError(
                f"the hub of {self.region} does not answer {method} {path}: {type(error).__name__} {error}".rstrip()
            ) from error
        data = _json(answer)
        if answer.is_success:
            return data
        problem = data.get("error", {})
        raise HubRefusedError(
            f"the hub of {self.region} refused {method} {path}: {problem.get('message') or f'status {answer.status_code}'}",
            hint=str(problem.get("hint", "")),
        )


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        data = answer.json()
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {"value": data}
