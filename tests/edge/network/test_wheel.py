from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.support.patience import patient

from nervure_edge.network.wheel import NEVER, NOWHERE, SLOT_BITS, Wheel


class Entry:
    def __init__(self, name: int) -> None:
        self.name = name
        self.slot = NOWHERE


def test_an_entry_moved_away_and_back_comes_once() -> None:
    wheel = Wheel[Entry]()
    entry = Entry(1)
    for deadline in (5, 1, 5):
        wheel.put(entry, deadline << SLOT_BITS)
    assert wheel.take_due(2 << SLOT_BITS) == []
    assert wheel.take_due(6 << SLOT_BITS) == [entry]
    assert wheel.take_due(NEVER - 1) == []
    assert (wheel.size, wheel.due_us) == (0, NEVER)


@patient
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 9), st.integers(0, 40)),
            st.tuples(st.just("take"), st.just(0), st.integers(0, 40)),
            st.tuples(st.sampled_from(["earliest", "drop"]), st.just(0), st.just(0)),
        ),
        max_size=60,
    )
)
def test_against_a_plain_dict(steps: list[tuple[str, int, int]]) -> None:
    wheel = Wheel[Entry]()
    entries = [Entry(name) for name in range(10)]
    slots: dict[int, int] = {}
    for word, name, slot in steps:
        if word == "put":
            wheel.put(entries[name], slot << SLOT_BITS)
            slots[name] = slot
        elif word == "take":
            now_us = slot << SLOT_BITS
            taken: list[int] = []
            while wheel.due_us <= now_us:
                taken += [entry.name for entry in wheel.take_due(now_us)]
            due = {name for name, at in slots.items() if at < slot}
            assert sorted(taken) == sorted(due)
            for gone in due:
                del slots[gone]
        elif word == "earliest":
            entry = wheel.take_earliest()
            assert (entry is None) == (not slots)
            if entry is not None:
                assert slots.pop(entry.name) <= min(slots.values(), default=NEVER)
        else:
            wheel.drop_stale()
