"""The phases of one federated round: everything that moves a round forward is in this file.

Laws:

1. A phase changes only by an event that the table allows; anything else is a bug and raises.
2. This file knows nothing of regions, agents, weights or stores: it only says what may follow what.
3. Every phase but the final ones can fail; a final phase never changes.
4. A phase is stored before the work of the next one begins, so a leader that takes over repeats at most one step, and
   each step may be repeated: contributions are written once, candidates are named by their content, and a release that
   is already registered is found again.
5. A candidate is never published without having been judged: there is no way round ``JUDGED``.

    SELECTED ─dispatch→ DISPATCHED ─contribution→ COLLECTING ─join→ AGGREGATED ─judge→ JUDGED ─publish→ PUBLISHED
                                                                                          └──keep───→ KEPT
    any of the first five ─give-up→ FAILED

>>> advance(Phase.JUDGED, Event.PUBLISH)
<Phase.PUBLISHED: 'published'>
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from nervure_core.errors import InternalError


class Phase(StrEnum):
    """Where a round stands."""

    SELECTED = "selected"
    """The base model and the hubs that take part are frozen."""
    DISPATCHED = "dispatched"
    """Hubs may hand the round to their agents."""
    COLLECTING = "collecting"
    """At least one hub has contributed."""
    AGGREGATED = "aggregated"
    """The candidate is stored (or, for the local-only baseline, the agents' scores are)."""
    JUDGED = "judged"
    """The verdict is stored, and with it whether the candidate will be published."""
    PUBLISHED = "published"
    """The candidate is a release and desired."""
    KEPT = "kept"
    """The candidate was refused; the model before it stays."""
    FAILED = "failed"
    """No candidate came of it; the reason is in the record."""


class Event(StrEnum):
    """What can happen to a round."""

    DISPATCH = "dispatch"
    CONTRIBUTION = "contribution"
    JOIN = "join"
    JUDGE = "judge"
    PUBLISH = "publish"
    KEEP = "keep"
    GIVE_UP = "give-up"


TRANSITIONS: Mapping[Phase, Mapping[Event, Phase]] = {
    Phase.SELECTED: {Event.DISPATCH: Phase.DISPATCHED, Event.GIVE_UP: Phase.FAILED},
    Phase.DISPATCHED: {
        Event.CONTRIBUTION: Phase.COLLECTING,
        Event.GIVE_UP: Phase.FAILED,
    },
    Phase.COLLECTING: {Event.JOIN: Phase.AGGREGATED, Event.GIVE_UP: Phase.FAILED},
    Phase.AGGREGATED: {Event.JUDGE: Phase.JUDGED, Event.GIVE_UP: Phase.FAILED},
    Phase.JUDGED: {Event.PUBLISH: Phase.PUBLISHED, Event.KEEP: Phase.KEPT, Event.GIVE_UP: Phase.FAILED},
    Phase.PUBLISHED: {},
    Phase.KEPT: {},
    Phase.FAILED: {},
}
"""What may follow what; a pair that is not here is not allowed."""

FINAL = frozenset(phase for phase, events in TRANSITIONS.items() if not events)
"""The phases that never change."""

OPEN_TO_HUBS = frozenset({Phase.DISPATCHED, Phase.COLLECTING})
"""The phases in which a hub may train its agents and contribute."""


def advance(phase: Phase, event: Event) -> Phase:
    """Return the phase that follows.

    Raises:
        InternalError: The table does not allow ``event`` in ``phase``.
    """
    following = TRANSITIONS[phase].get(event)
    if following is None:
        raise InternalError(f"a round that is {phase.value} can't take the event {event.value}")
    return following
