"""A hub over Ray: the driver that starts the actors, watches them, serves the API and takes everything down again.

Rules
    1. Order: hold the port, Ray, directory, gateways, lake, controllers, API, registration. The reverse on the way out:
       gateways drain (agents are asked to move), journals are synced, then the rest goes.
    2. An actor that dies is restarted by Ray; its ``run`` is called again here, with backoff, for ever. What kept a part
       from opening at the start ends the start.
    3. The driver owns the actors: when it is killed, Ray takes them down.
    4. No Ray call per message anywhere.

>>> async with RayHub(config) as hub:
...     print(hub.address, hub.api_url)
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import AsyncExitStack
from typing import Any, Protocol, Self

from nervure_core.errors import NervureError, WorldError
from nervure_core.ids import new_id
from nervure_core.retry import Backoff
from nervure_hub.actors.calls import PartAway, answer
from nervure_hub.actors.controllers import start_controllers
from nervure_hub.actors.directory import RayDirectory, start_directory
from nervure_hub.actors.gateway import RayGateway, start_gateway
from nervure_hub.actors.lake import start_lake
from nervure_hub.actors.runtime import ray_runtime, take_back_signals
from nervure_hub.config import HubConfig
from nervure_hub.context import HubContext
from nervure_hub.coordination import Coordination, StoreUnreachable, open_coordination
from nervure_hub.coordination.background import beside
from nervure_hub.front import CountingDirectory, gateway_settings, open_context, open_front
from nervure_hub.ports import PortHold
from nervure_hub.registration import HUBS_PREFIX

_log = logging.getLogger(__name__)
_START_S = 120.0
_STOP_S = 30.0


class Part(Protocol):
    """An actor and its name."""

    name: str
    handle: Any


class RayHub:
    """One hub; an async context manager that runs while it is open.

    Args:
        config: ``port`` and ``api_port`` may be 0.
    """

    def __init__(self, config: HubConfig) -> None:
        self.config = config
        self.hub_id = config.hub_id or new_id("hub")
        self.port = 0
        self.api_url = ""
        self.restarts = 0
        """How often an actor had to be started again."""
        self._pids: dict[str, int] = {}
        self._directory: RayDirectory | None = None
        self._context: HubContext | None = None
        self._hubs: tuple[str, ...] = ()
        self._stopping: set[str] = set()
        self._ended: dict[str, asyncio.Event] = {}
        self._stack = AsyncExitStack()

    @property
    def context(self) -> HubContext:
        """The hub's context, while it runs."""
        if self._context is None:
            raise RuntimeError("the hub is not open")
        return self._context

    @property
    def address(self) -> str:
        """Where agents connect."""
        return self.config.advertised(self.port)

    @property
    def pids(self) -> tuple[int, ...]:
        """The driver's and its actors' processes; Ray's own are not among them."""
        return (os.getpid(), *sorted(set(self._pids.values())))

    async def __aenter__(self) -> Self:
        """Start everything.

        Raises:
            WorldError: A port is taken, a folder can't be used, Ray or coordination does not answer.
        """
        config = self.config
        async with AsyncExitStack() as stack:
            hold = stack.enter_context(PortHold(config.host, config.port))
            self.port = hold.port
            runtime = ray_runtime(config)
            await asyncio.to_thread(runtime.__enter__)
            take_back_signals()
            stack.push_async_callback(asyncio.to_thread, runtime.__exit__, None, None, None)

            # Before the other actors, which would fight it for the cores while it starts.
            store = await stack.enter_async_context(open_coordination(config.coordination_url))
            await self._first_answer(store)
            directory = start_directory(config.gateway.heartbeat_s * config.gateway.missed_heartbeats)
            self._directory = directory
            gateways = [
                start_gateway(gateway_settings(config, name, self.hub_id, self.port), config.objects_url, directory)
                for name in config.gateway_names()
            ]
            lake = start_lake(config, gateways)
            counting = CountingDirectory(directory, lake.counters)
            context = open_context(config, self.hub_id, counting, gateways, coordination=store)
            self._context = await stack.enter_async_context(context)
            await self._open([directory], stack)
            await directory.note_process("driver", os.getpid())
            await self._open([*gateways, lake], stack)
            await self._open([start_controllers(config, self.hub_id, directory, gateways)], stack)
            api = await stack.enter_async_context(
                open_front(self._context, gateways, lake.query, self.port, self._remember)
            )
            self.api_url = api.url
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _first_answer(self, store: Coordination) -> None:
        # An etcd answers or is not there; an actor may take long to start on a busy machine.
        tries = 1 if self.config.etcd else 6
        for left in reversed(range(tries)):
            try:
                await store.list(HUBS_PREFIX)
                return
            except StoreUnreachable:
                if not left:
                    raise

    def _remember(self, hubs: tuple[str, ...]) -> None:
        self._hubs = hubs

    async def _open(self, parts: list[Any], stack: AsyncExitStack) -> None:
        """Run parts side by side and return when all are open; leaving the stack stops them side by side."""
        opened = [asyncio.Event() for _ in parts]
        for part, event in zip(parts, opened, strict=True):
            self._ended[part.name] = asyncio.Event()
            await stack.enter_async_context(beside(self._keep(part, event)))
        try:
            async with asyncio.timeout(_START_S):
                for event in opened:
                    await event.wait()
        except TimeoutError as error:
            late = [part.name for part, event in zip(parts, opened, strict=True) if not event.is_set()]
            raise WorldError(
                f"{', '.join(late)} did not start within {_START_S:g} s", hint="look at Ray's logs: `ray status`"
            ) from error
        stack.push_async_callback(self._stop, parts)

    async def _keep(self, part: Part, opened: asyncio.Event) -> None:
        backoff = Backoff(base_s=0.2, cap_s=5.0)
        try:
            while True:
                try:
                    async with beside(self._announce(part, opened)):
                        await answer(part.handle.run.remote())
                    return
                except NervureError as error:
                    if part.name in self._stopping:
                        return
                    if not opened.is_set() and not isinstance(error, PartAway):
                        raise
                    self.restarts += 1
                    _log.warning("%s ended (%s); starting it again", part.name, error.message)
                await asyncio.sleep(backoff.next_delay_s())
        finally:
            self._ended[part.name].set()

    async def _announce(self, part: Part, opened: asyncio.Event) -> None:
        try:
            pid = await answer(part.handle.ready.remote())
            self._pids[part.name] = pid
            if self._directory is not None:
                await self._directory.note_process(part.name, pid)
            if isinstance(part, RayGateway) and self._hubs:
                await part.set_hubs(self._hubs)
        except NervureError:
            # ``run`` fails with the same error, and that is where it is dealt with.
            return
        opened.set()

    async def _stop(self, parts: list[Part]) -> None:
        """Stop parts side by side; returns when they have ended, within a bound."""
        self._stopping.update(part.name for part in parts)
        try:
            async with asyncio.timeout(_STOP_S), asyncio.TaskGroup() as tasks:
                for part in parts:
                    tasks.create_task(self._stop_one(part))
        except TimeoutError:
            _log.warning("%s did not stop in %g s", ", ".join(part.name for part in parts), _STOP_S)

    async def _stop_one(self, part: Part) -> None:
        try:
            await answer(part.handle.stop.remote())
        except NervureError as error:
            _log.info("%s was gone before it was stopped: %s", part.name, error.message)
            return
        # ``stop`` only asks; the end of ``run`` is the end of the part.
        await self._ended[part.name].wait()
