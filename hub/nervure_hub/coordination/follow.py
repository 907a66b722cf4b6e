"""A prefix as one mapping that stays current: list, watch from the next revision, list again when the store forgot.

>>> async def example(store: Coordination) -> None:
...     async with aclosing(follow(store, "/nervure/desired/")) as states:
...         async for state in states:
...             print(sorted(state))
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from nervure_core.clock import Clock, SystemClock
from nervure_core.retry import Backoff
from nervure_hub.coordination.contract import Compacted, Coordination, KeyValue, StoreUnreachable

_log = logging.getLogger(__name__)


async def follow(
    store: Coordination, prefix: str, *, clock: Clock | None = None
) -> AsyncGenerator[Mapping[str, KeyValue]]:
    """Yield the keys under ``prefix`` now and after every change; an outage of the store freezes the last state."""
    clock = clock or SystemClock()
    backoff = Backoff(base_s=0.2, cap_s=5.0)
    while True:
        try:
            listed, revision = await store.list(prefix)
            backoff.reset()
            state = {entry.key: entry for entry in listed}
            yield dict(state)
            async with aclosing(store.watch(prefix, revision + 1)) as events:
                async for event in events:
                    if event.kind == "put":
                        state[event.key] = KeyValue(event.key, event.value, event.revision, event.create_revision)
                    else:
                        state.pop(event.key, None)
                    yield dict(state)
        except Compacted:
            _log.info("watch of %s fell behind a compaction, listing again", prefix)
        except StoreUnreachable as error:
            delay_s = backoff.next_delay_s()
            _log.warning("%s; trying again in %.1f s", error.message, delay_s)
            await clock.sleep(delay_s)
