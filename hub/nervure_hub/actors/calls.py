"""What all actors and their callers share: how an actor runs its part, and what a failed call means.

Rules
    1. An actor's ``run`` holds its part open until ``stop``; it is called once and ends with the actor, so whoever
       awaits it learns of a death at once. ``ready`` answers when the part is open, or raises what kept it from opening.
    2. Ray restarts a dead actor's process by itself (``max_restarts``) and handles stay good; ``run`` has to be called
       again, which ``supervisor`` does.
    3. An actor that is away is ``PartAway`` (the world's fault); an error of ours crosses the call as itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar, cast

import ray
import ray.exceptions

from nervure_core.errors import InternalError, NervureError, WorldError

T = TypeVar("T")
OPTIONS: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": 0, "max_concurrency": 1000}


class PartAway(WorldError):
    """A part of the hub is being restarted."""

    code = "part-away"


class Way:
    """The way to a named actor of this hub's namespace; small enough to be sent to other actors.

    Handles are looked up by name where they are used, because a handle inside constructor arguments would have to be
    kept in the object store for as long as the actor may be restarted.
    """

    def __init__(self, name: str, namespace: str, handle: Any = None) -> None:
        self.name = name
        self._namespace = namespace
        self._handle = handle

    def __reduce__(self) -> tuple[object, ...]:
        return (Way, (self.name, self._namespace))

    @classmethod
    def make(cls, name: str, actor: type[object], *arguments: object) -> Way:
        """Start an actor of this driver's namespace and return the way to it; it lives as long as this object."""
        handle = ray.remote(actor).options(name=name, **OPTIONS).remote(*arguments)
        return cls(name, ray.get_runtime_context().namespace, handle)

    @property
    def handle(self) -> Any:
        """The actor's handle.

        Raises:
            PartAway: There is no such actor (any more).
        """
        if self._handle is None:
            try:
                self._handle = ray.get_actor(self.name, namespace=self._namespace)
            except ValueError as error:
                raise PartAway(f"{self.name} is not there", hint="the hub is starting or stopping") from error
        return self._handle


class RayPart:
    """A part behind an actor, seen by its callers; may be sent to other actors."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.name = way.name

    @property
    def handle(self) -> Any:
        """The actor's handle."""
        return self.way.handle


class HostedActor(Generic[T]):
    """An actor that holds one part open; a subclass says how the part is opened."""

    def __init__(self) -> None:
        self._ready: asyncio.Future[T] | None = None
        self._stop = asyncio.Event()

    def open_part(self) -> AbstractAsyncContextManager[T]:
        """Return the part, still closed; called inside the actor's running loop."""
        raise InternalError(f"{type(self).__name__} has no part")

    async def run(self) -> None:
        """Open the part, keep it open until ``stop``, close it.

        Raises:
            BaseException: What kept it from opening, or what failed inside.
        """
        if self._ready is not None and self._ready.done():
            self._ready = None  # an earlier try in this process did not open
        ready = self._future()
        try:
            async with self.open_part() as opened:
                ready.set_result(opened)
                await self._stop.wait()
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
                ready.exception()  # it is raised below too; nobody may be waiting for the other copy
            raise

    async def ready(self) -> int:
        """Return the actor's process id once the part is open."""
        await self.part()
        return os.getpid()

    async def stop(self) -> None:
        """Close the part; safe to call again."""
        self._stop.set()

    async def part(self) -> T:
        """Return the part once it is open."""
        return await asyncio.shield(self._future())

    def _future(self) -> asyncio.Future[T]:
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
        return self._ready


async def answer(call: Awaitable[T]) -> T:
    """Return what an actor call answers.

    Raises:
        PartAway: The actor's process is gone or not back yet.
        NervureError: Whatever of ours the actor raised.
    """
    try:
        return await call
    except ray.exceptions.RayTaskError as error:
        raise of_ours(error) from None
    except ray.exceptions.RayActorError as error:
        raise PartAway(f"a part of the hub is away: {_first_line(error)}", hint="it is being restarted") from error


def of_ours(error: ray.exceptions.RayTaskError) -> BaseException:
    """Return the error of ours that an actor raised, or Ray's own where it was something else."""
    cause = cast("BaseException | None", error.cause)
    return cause if isinstance(cause, NervureError) else error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
