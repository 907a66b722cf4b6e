"""Each cell of the table of phases is walked: what is allowed, and that nothing else is."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nervure_core.errors import InternalError
from nervure_federation.rounds.phases import FINAL, OPEN_TO_HUBS, TRANSITIONS, Event, Phase, advance


@pytest.mark.parametrize(("phase", "event"), list(itertools.product(Phase, Event)))
def test_every_cell(phase: Phase, event: Event) -> None:
    following = TRANSITIONS[phase].get(event)
    if following is None:
        with pytest.raises(InternalError, match=f"{phase.value} can't take the event {event.value}"):
            advance(phase, event)
    else:
        assert advance(phase, event) is following


def test_final_phases_never_change_and_all_others_can_fail() -> None:
    assert {Phase.PUBLISHED, Phase.KEPT, Phase.FAILED} == FINAL
    for phase in set(Phase) - FINAL:
        assert TRANSITIONS[phase][Event.GIVE_UP] is Phase.FAILED


def test_nothing_is_published_without_a_verdict() -> None:
    assert [phase for phase in Phase if Event.PUBLISH in TRANSITIONS[phase]] == [Phase.JUDGED]
    assert [phase for phase in Phase if Phase.JUDGED in TRANSITIONS[phase].values()] == [Phase.AGGREGATED]
    assert {Phase.DISPATCHED, Phase.COLLECTING} == OPEN_TO_HUBS


@given(st.lists(st.sampled_from(Event), max_size=30))
def test_whatever_happens_a_round_only_goes_forward(events: list[Event]) -> None:
    order = list(Phase)
    phase = Phase.SELECTED
    for event in events:
        if event not in TRANSITIONS[phase]:
            continue
        following = advance(phase, event)
        assert following in FINAL or order.index(following) >= order.index(phase)
        phase = following
