"""A hub makes itself known, and learns of the others.

Rules: what a hub says of itself stands under ``/nervure/hubs/<region>/<hub id>`` for as long as its lease; when the
lease is lost (the store was away) it is written again; agents are told this hub first, then the others.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing

from nervure_core.clock import Clock
from nervure_core.errors import NervureError
from nervure_core.retry import Backoff
from nervure_hub.coordination import Coordination, KeyValue, follow

_log = logging.getLogger(__name__)
HUBS_PREFIX = "/nervure/hubs/"
LEASE_S = 10.0


async def stay_registered(
    store: Coordination, region: str, hub_id: str, facts: Mapping[str, object], clock: Clock
) -> None:
    """Keep this hub's entry in the store until cancelled; the entry goes with the lease."""
    key, value = f"{HUBS_PREFIX}{region}/{hub_id}", json.dumps(facts).encode()
    backoff = Backoff(base_s=0.5, cap_s=10.0)
    while True:
        try:
            async with store.lease(LEASE_S) as lease:
                await store.put(key, value, lease=lease)
                backoff.reset()
                await lease.lost.wait()
                _log.warning("registration of %s was lost", hub_id)
        except NervureError as error:
            _log.warning("registration of %s: %s", hub_id, error.message)
        await clock.sleep(backoff.next_delay_s())


def addresses(state: Mapping[str, KeyValue], own: str, extra: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return where agents may connect: this hub, the registered others, the configured ones; each once.

    >>> addresses({}, "a:1", ("b:1", "a:1"))
    ('a:1', 'b:1')
    """
    found = [own]
    for entry in state.values():
        try:
            found.append(str(json.loads(entry.value)["grpc"]))
        except (ValueError, KeyError, TypeError):
            _log.warning("%s is no registration of a hub", entry.key)
    return tuple(dict.fromkeys([*found, *extra]))


async def follow_hubs(
    store: Coordination, own: str, extra: tuple[str, ...], tell: Callable[[tuple[str, ...]], Awaitable[None]]
) -> None:
    """Call ``tell`` with the hubs' addresses now and whenever they change, until cancelled."""
    told: tuple[str, ...] = ()
    async with aclosing(follow(store, HUBS_PREFIX)) as states:
        async for state in states:
            found = addresses(state, own, extra)
            if found != told:
                told = found
                await tell(found)
