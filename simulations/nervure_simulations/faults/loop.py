"""An event loop that owns time: whoever waits wakes in order, nobody really sleeps, and a second run does the same.

Rules:
- Time is a ``VirtualClock``; when nothing is ready the loop moves it to the next deadline. There is one thread and no
  selector: what would run in a thread runs here, after a delay that the caller draws.
- Futures and tasks hash by their number, not by their address: asyncio keeps them in sets, and the order in which those
  are gone through must not differ between two runs.
- When nothing is ready and nobody waits for a time, the run can never go on; that is an error, not a hang.

>>> loop = VirtualLoop(VirtualClock())
>>> loop.run_until_complete(asyncio.sleep(3600.0)), loop.time()
(None, 3600.0)
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple, Unpack

from nervure_core.clock import VirtualClock
from nervure_core.errors import InternalError

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class StalledError(InternalError):
    """Everybody waits for somebody else."""

    code = "stalled"


class _Future(asyncio.Future[Any]):
    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class _Task(asyncio.Task[Any]):
    def __init__(self, number: int, coroutine: Coroutine[Any, Any, Any], **options: Any) -> None:
        self._number = number
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop.

    Args:
        clock: Its time; sleepers of the clock wake with those of the loop.
    """

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self._selector = self  # BaseEventLoop asks this for what is ready; here it is only how far time may go
        self._numbers = itertools.count(1)
        self.turns = 0
        """How often the loop went round."""
        self.thread_delay_s: Callable[[], float] = lambda: 0.0
        """How long what is given to a thread takes; drawn for every call."""
        self.set_task_factory(self._make_task)

    def _make_task(self, _loop: object, coroutine: Any, **options: Any) -> _Task:
        return _Task(next(self._numbers), coroutine, loop=self, **options)

    def create_future(self) -> _Future:
        return _Future(next(self._numbers), self)

    def time(self) -> float:
        return self._clock.monotonic_s()

    def select(self, timeout: float | None) -> list[object]:
        """Move time to the next deadline, at most by ``timeout`` seconds; nothing else ever becomes ready."""
        self.turns += 1
        deadline_s = self._clock.next_deadline_s()
        if deadline_s is not None:
            left_s = max(deadline_s - self._clock.monotonic_s(), 0.0)
            timeout = left_s if timeout is None else min(timeout, left_s)
        if timeout is None:
            raise StalledError("nothing is ready and nobody waits for a time: the simulated world has stopped")
        self._clock.advance(timeout)
        return []

    def _process_events(self, _events: list[object]) -> None:
        """There are none."""

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, _executor: object, func: Callable[..., _T], *args: Any) -> asyncio.Future[_T]:  # type: ignore[override]
        done: asyncio.Future[_T] = self.create_future()

        def work() -> None:
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - handed to whoever waits, as a thread would
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(result)

        self.call_later(self.thread_delay_s(), work)
        return done


class NodeClock:
    """One machine's view of the common time: its wall clock may be wrong.

    Args:
        clock: The time of the simulated world.
    """

    __slots__ = ("_clock", "wrong_by_s")

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.wrong_by_s = 0.0

    def wall_s(self) -> float:
        return self._clock.wall_s() + self.wrong_by_s

    def monotonic_s(self) -> float:
        return self._clock.monotonic_s()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
