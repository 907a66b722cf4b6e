"""The session's pure parts: every cell of the table, the hub list, the window, the outbox, the assembler."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nervure_core.codec import MalformedFrame, split_content
from nervure_core.messages import Goodbye, TaskKind, TaskOrder, TaskPart
from nervure_edge.session import (
    TABLE,
    Assembler,
    Effect,
    Happened,
    HubList,
    IllegalStepError,
    Outbox,
    State,
    Window,
    step,
)
from nervure_edge.session.orders import MAX_OPEN

# What must hold, said independently of the table.
ENDS_UNASKED = {Happened.CUT, Happened.REFUSED, Happened.MISMATCHED}
WITH_STREAM = {State.GREETING, State.LIVE, State.MOVING}


@pytest.mark.parametrize(("state", "happened"), list(itertools.product(State, Happened)))
def test_every_cell(state: State, happened: Happened) -> None:
    if happened not in TABLE[state]:
        with pytest.raises(IllegalStepError, match=f"{happened.value} cannot happen in state {state.value}"):
            step(state, happened)
        return
    after, effect = step(state, happened)
    if state is State.CLOSED:
        assert (after, effect) == (State.CLOSED, Effect.NOTHING)
    if happened is Happened.STOP:
        assert after in (State.CLOSED, State.DRAINING)
        assert (after is State.DRAINING) == (state in (State.LIVE, State.MOVING, State.DRAINING))
    if happened in ENDS_UNASKED and state in WITH_STREAM | {State.CONNECTING}:
        assert after is State.BACKING_OFF
        assert effect is (Effect.WAIT_LONG if happened is Happened.MISMATCHED else Effect.WAIT)
    if effect is Effect.DIAL:
        assert after is State.CONNECTING
        assert happened in (Happened.START, Happened.RETRY, Happened.MOVE_DUE)
    if effect is Effect.PUMP:
        assert (state, happened, after) == (State.GREETING, Happened.WELCOMED, State.LIVE)


def test_every_state_can_be_stopped_and_reaches_closed() -> None:
    for state in State:
        after, _ = step(state, Happened.STOP)
        if after is State.DRAINING:
            after, _ = step(after, Happened.DRAINED)
        assert after is State.CLOSED


def test_every_state_can_be_reached() -> None:
    reached = {State.RESTING}
    while more := {after for state in reached for after, _ in TABLE[state].values()} - reached:
        reached |= more
    assert reached == set(State)


def test_hub_list_never_forgets_the_configured_hubs() -> None:
    hubs = HubList(("a:1", "b:1"))
    hubs.welcomed(("c:1", "a:1"))
    assert hubs.current() == "a:1"
    assert hubs.order == ("c:1", "a:1", "b:1")
    assert hubs.move(("d:1",)) == "d:1"
    assert hubs.order == ("d:1", "a:1", "b:1")
    assert [hubs.failed() for _ in range(3)] == ["a:1", "b:1", "d:1"]
    assert hubs.move(()) == "a:1"


names = st.sampled_from([f"hub{number}:7443" for number in range(6)])


@given(
    st.lists(names, min_size=1, max_size=4, unique=True),
    st.lists(st.one_of(st.none(), st.tuples(st.booleans(), st.lists(names, max_size=4))), max_size=20),
)
def test_hub_list_is_sound_after_any_history(
    configured: list[str], history: list[tuple[bool, list[str]] | None]
) -> None:
    hubs = HubList(tuple(configured))
    for turn in history:
        if turn is None:
            hubs.failed()
        elif turn[0]:
            here = hubs.current()
            hubs.welcomed(turn[1])
            assert hubs.current() == here
        else:
            hubs.move(turn[1])
        assert set(configured) <= set(hubs.order)
        assert len(set(hubs.order)) == len(hubs.order)
        assert hubs.current() in hubs.order
    # Wherever it stands, failing goes round all of them.
    assert {hubs.failed() for _ in hubs.order} == set(hubs.order)


@given(
    st.integers(0, 100),
    st.integers(0, 1000),
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 400), st.integers(0, 300))),
)
def test_window_overdraws_by_one_batch_and_marks_never_go_back(
    start: int, credit: int, turns: list[tuple[int, int, int]]
) -> None:
    window = Window(start, credit)
    mark = start
    given_bytes, sent_bytes, largest = credit, 0, 0
    for count, size, ack in turns:
        if window.may_send:
            window.sent(window.next_seq, count, size)
            sent_bytes, largest = sent_bytes + size, max(largest, size)
        else:
            window.credited(size)
            given_bytes += size
        after = window.acknowledged(ack)
        assert mark <= after <= window.next_seq
        mark = after
        assert sent_bytes < given_bytes + largest + 1
    assert window.in_flight >= 0


def test_outbox_drops_the_oldest_and_keeps_an_entry_until_it_is_done() -> None:
    box = Outbox(limit=2)
    entries = [[Goodbye(str(number))] for number in range(3)]
    for entry in entries:
        box.post(entry)
    assert box.dropped == 1
    assert box.peek() is entries[1]
    box.done(entries[0])
    assert box.peek() is entries[1]
    box.done(entries[1])
    assert box.peek() is entries[2]


@given(st.integers(1, 3_000_000))
def test_orders_in_parts_come_out_whole(size: int) -> None:
    content = bytes(size)
    parts = split_content("t", content)
    order = TaskOrder("t", "r", TaskKind.TRAIN, 1, 1.0, b"" if parts else content, len(parts))
    assembler = Assembler()
    found = assembler.order(order)
    for part in parts:
        assert found is None
        found = assembler.part(part)
    assert found is not None
    assert found.content == content
    assert found.parts == 0


def test_strange_parts_break_the_session_and_only_it() -> None:
    assembler = Assembler()
    with pytest.raises(MalformedFrame, match="not open"):
        assembler.part(TaskPart("t", 0, b"x"))
    assembler.order(TaskOrder("t", "r", TaskKind.TRAIN, 1, 1.0, b"", 2))
    with pytest.raises(MalformedFrame, match="out of order"):
        assembler.part(TaskPart("t", 1, b"x"))
    assembler = Assembler()
    for number in range(MAX_OPEN):
        assembler.order(TaskOrder(f"t{number}", "r", TaskKind.TRAIN, 1, 1.0, b"", 2))
    with pytest.raises(MalformedFrame, match="wait for their parts"):
        assembler.order(TaskOrder("more", "r", TaskKind.TRAIN, 1, 1.0, b"", 2))
