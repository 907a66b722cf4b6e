"""Two small shapes of structured concurrency that coordination needs: a task beside a body, and the first of several.

Rules
    1. A task never outlives the block that started it, and no block ends before its task has.
    2. An error of the body passes through as it is, not wrapped in a group: callers write plain ``except``.

>>> async def example(lease: Lease) -> None:
...     async with beside(keep_alive(lease)):
...         await work()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from nervure_core.errors import NervureError


@asynccontextmanager
async def beside(companion: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Run ``companion`` while the body runs; cancel it when the body ends.

    Raises:
        BaseException: Whatever the body raised, or the companion (which then cancels the body).
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(companion)
            try:
                yield
            finally:
                task.cancel()
    except BaseExceptionGroup as group:
        # One of the two failed: raise that one. ``from None`` because the group says nothing more than it does.
        raise group.exceptions[0] from None


async def first_of(*candidates: Coroutine[Any, Any, Any]) -> None:
    """Return when the first of the candidates is done; the others are cancelled and awaited.

    Raises:
        BaseException: Whatever a candidate raised before any was done.
    """
    done = asyncio.Event()

    async def run(candidate: Coroutine[Any, Any, Any]) -> None:
        await candidate
        done.set()

    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(run(candidate)) for candidate in candidates]
            await done.wait()
            for task in running:
                task.cancel()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


async def last_word(farewell: Coroutine[Any, Any, Any], *, within_s: float) -> None:
    """Try to do something on the way out, for a bounded time; a failure to do so is nobody's concern any more."""
    with suppress(NervureError, TimeoutError):
        async with asyncio.timeout(within_s):
            await farewell
