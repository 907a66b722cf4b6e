"""Waiting for hubs and their contributions, without hanging on any of them.

A round ends when every participant has contributed, or is gone (its key under ``/nervure/hubs/`` went with its lease),
or the time is over. A hub that comes back under a new id is no participant of this round. Both prefixes are followed, so
nothing is polled and nothing is missed.

>>> found = await collect_contributions(context, record, 60.0)
>>> [contribution.region for contribution in found.contributions]
['asia', 'europe']
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from dataclasses import dataclass

from nervure_core.errors import PeerError
from nervure_federation.rounds.joining import still_expected
from nervure_federation.rounds.ledger import read_contributions
from nervure_federation.rounds.records import Contribution, Participant, RoundRecord, contributions_prefix
from nervure_hub.context import HubContext
from nervure_hub.coordination import KeyValue, follow
from nervure_hub.coordination.background import first_of

HUBS_PREFIX = "/nervure/hubs/"
"""One key a hub, under its lease: ``/nervure/hubs/{region}/{hub_id}``."""


class NoHubs(PeerError):
    """Too few regions have a hub that lives."""

    code = "no-hubs"


@dataclass(frozen=True, slots=True)
class Collected:
    """What a round has brought so far."""

    contributions: tuple[Contribution, ...] = ()
    expected: tuple[Participant, ...] = ()
    """Those that live and have said nothing; empty when there is nothing more to wait for."""


def hubs_in(keys: Mapping[str, KeyValue]) -> tuple[Participant, ...]:
    """Return the hubs that live, ordered by region and id."""
    found: list[Participant] = []
    for key in sorted(keys):
        region, _, hub_id = key.removeprefix(HUBS_PREFIX).partition("/")
        if region and hub_id and "/" not in hub_id:
            found.append(Participant(region=region, hub_id=hub_id))
    return tuple(found)


async def wait_for_hubs(context: HubContext, min_regions: int, limit_s: float) -> tuple[Participant, ...]:
    """Return the hubs that live, after waiting for enough regions where there are too few.

    Raises:
        NoHubs: The time is over and too few regions are there.
    """
    alive: tuple[Participant, ...] = ()

    async def until_enough() -> None:
        nonlocal alive
        async with aclosing(follow(context.coordination, HUBS_PREFIX, clock=context.clock)) as states:
            async for state in states:
                alive = hubs_in(state)
                if len({hub.region for hub in alive}) >= min_regions:
                    return

    await first_of(until_enough(), context.clock.sleep(limit_s))
    regions = {hub.region for hub in alive}
    if len(regions) < min_regions:
        raise NoHubs(f"{len(regions)} regions have a hub, {min_regions} are needed")
    return alive


async def collect_contributions(
    context: HubContext, record: RoundRecord, limit_s: float, *, until_first: bool = False
) -> Collected:
    """Wait for the contributions to a round.

    Args:
        context: The leading hub.
        record: The round.
        limit_s: How long to wait at most.
        until_first: Return at the first contribution already.
    """
    prefix = contributions_prefix(record.run_id, record.round)
    views: dict[str, Mapping[str, KeyValue]] = {}
    changed = asyncio.Event()

    async def keep(what: str) -> None:
        async with aclosing(follow(context.coordination, what, clock=context.clock)) as states:
            async for state in states:
                views[what] = state
                changed.set()

    def so_far() -> Collected:
        contributions = read_contributions(views.get(prefix, {}))
        alive: AbstractSet[tuple[str, str]] = {(hub.region, hub.hub_id) for hub in hubs_in(views.get(HUBS_PREFIX, {}))}
        return Collected(contributions, tuple(still_expected(record.participants, contributions, alive)))

    async def until_settled() -> None:
        while True:
            await changed.wait()
            changed.clear()
            if len(views) == 2 and (not (found := so_far()).expected or (until_first and found.contributions)):
                return

    await first_of(until_settled(), keep(prefix), keep(HUBS_PREFIX), context.clock.sleep(limit_s))
    return so_far()
