"""The session's table, cell by cell, and its decisions on plain data."""

from __future__ import annotations

from itertools import product

import pytest

from nervure_core.events import EventBatch, EventKind, PayloadCodec
from nervure_core.messages import Ack, Credit, Goodbye, Heartbeat, Hello, Lost, Refused
from nervure_hub.gateway.session import Admission, CreditExceeded, HubSession, greet
from nervure_hub.gateway.session_states import TRANSITIONS, SessionEvent, SessionState, SessionViolation, step
from nervure_hub.gateway.watermarks import StreamKey, Taken, Watermarks

S, E = SessionState, SessionEvent
ALLOWED = {
    (S.GREETING, E.WELCOMED): S.OPEN,
    (S.GREETING, E.REFUSED): S.CLOSED,
    (S.GREETING, E.DRAIN): S.CLOSED,
    (S.GREETING, E.ENDED): S.CLOSED,
    (S.OPEN, E.FRAME): S.OPEN,
    (S.OPEN, E.DRAIN): S.DRAINING,
    (S.OPEN, E.GOODBYE): S.LEAVING,
    (S.OPEN, E.ENDED): S.CLOSED,
    (S.DRAINING, E.FRAME): S.DRAINING,
    (S.DRAINING, E.DRAIN): S.DRAINING,
    (S.DRAINING, E.GOODBYE): S.LEAVING,
    (S.DRAINING, E.ENDED): S.CLOSED,
    (S.LEAVING, E.DRAIN): S.LEAVING,
    (S.LEAVING, E.ENDED): S.CLOSED,
    (S.CLOSED, E.DRAIN): S.CLOSED,
    (S.CLOSED, E.ENDED): S.CLOSED,
}
STREAM = b"s" * 16
HELLO = Hello("camera-7", "1", STREAM, 0)
ROOM = Admission(sessions=0, max_sessions=10, draining=False)


@pytest.mark.parametrize(("state", "event"), list(product(S, E)), ids=lambda item: item.value)
def test_every_cell(state: SessionState, event: SessionEvent) -> None:
    if (state, event) in ALLOWED:
        assert step(state, event) is ALLOWED[state, event]
    else:
        with pytest.raises(SessionViolation, match=event.value):
            step(state, event)


def test_every_state_can_end_and_the_table_is_whole() -> None:
    assert set(TRANSITIONS) == set(S)
    assert all(TRANSITIONS[state][E.ENDED] is S.CLOSED for state in S)


def batch(first: int, count: int, size: int = 100) -> EventBatch:
    return EventBatch(STREAM, first, count, EventKind.FINDING, PayloadCodec.NONE, b"x" * size)


def session(credit_bytes: int = 1000) -> tuple[HubSession, Watermarks]:
    marks = Watermarks()
    return HubSession(HELLO, session_id="s1", credit_bytes=credit_bytes, marks=marks), marks


def test_acks_and_credit_are_coalesced() -> None:
    talk, marks = session()
    for first in (0, 10, 20):
        assert talk.take_events(batch(first, 10)) is Taken.NEW
    assert talk.due() == ()
    for end in (10, 20, 30):
        marks.commit(talk.key(STREAM), end)
        talk.became_durable(STREAM, 100)
    assert talk.due() == (Ack(STREAM, 30), Credit(300))
    assert talk.due() == ()
    assert talk.in_flight_bytes == 0


def test_a_repeat_gives_its_credit_back_and_is_acknowledged_only_if_durable() -> None:
    talk, marks = session()
    talk.take_events(batch(0, 10))
    assert talk.take_events(batch(0, 10)) is Taken.REPEAT
    assert talk.due() == (Credit(100),)
    marks.commit(talk.key(STREAM), 10)
    talk.became_durable(STREAM, 100)
    assert talk.due() == (Ack(STREAM, 10), Credit(100))


def test_credit_bounds_what_is_in_flight_until_it_has_gone_back() -> None:
    talk, marks = session(credit_bytes=250)
    talk.take_events(batch(0, 1))
    talk.take_events(batch(1, 1))
    marks.commit(talk.key(STREAM), 2)
    talk.became_durable(STREAM, 100)
    # 50 bytes are left: an agent may overdraw by the rest of one batch, else it could not use them.
    talk.take_events(batch(2, 1))
    with pytest.raises(CreditExceeded, match="150 bytes"):
        talk.take_events(batch(3, 1))
    talk.due()
    assert talk.take_events(batch(3, 1)) is Taken.NEW


def test_a_loss_moves_the_marks_once() -> None:
    talk, marks = session()
    lost = Lost(STREAM, 2, 9, "quota")
    assert talk.take_loss(lost) is Taken.NEW
    assert talk.take_loss(lost) is Taken.REPEAT
    marks.commit(talk.key(STREAM), 9)
    assert talk.due() == (Ack(STREAM, 9),)


def test_nothing_is_taken_after_the_end() -> None:
    talk, _ = session()
    talk.end()
    with pytest.raises(SessionViolation):
        talk.take_events(batch(0, 1))
    with pytest.raises(SessionViolation):
        talk.take_loss(Lost(STREAM, 0, 1, "quota"))


def test_low_credit_presses() -> None:
    talk, _ = session(credit_bytes=400)
    talk.became_durable(STREAM, 99)
    assert not talk.presses()
    talk.became_durable(STREAM, 1)
    assert talk.presses()


def test_nothing_comes_after_goodbye() -> None:
    talk, _ = session()
    talk.goodbye()
    assert not talk.drain()
    with pytest.raises(SessionViolation):
        talk.take_frame()
    with pytest.raises(SessionViolation):
        talk.goodbye()
    talk.end()
    talk.end()


def test_draining_still_takes_what_was_on_its_way() -> None:
    talk, _ = session()
    assert talk.drain()
    assert not talk.drain()
    assert talk.take_events(batch(0, 1)) is Taken.NEW


def test_a_failed_write_is_forgotten_so_that_the_repeat_is_taken() -> None:
    marks, key = Watermarks(), StreamKey("a", STREAM)
    marks.commit(key, 5)
    assert marks.accept(key, 5, 9) is Taken.NEW
    marks.rollback(key)
    assert marks.accept(key, 5, 9) is Taken.NEW
    assert marks.accept(key, 7, 12) is Taken.OVERLAP
    assert Watermarks.restore(marks.snapshot()).durable(key) == 5


@pytest.mark.parametrize("data", [b"", b"{}x", b"[[1]]", b"[3]", b'[["a", "zz", 1]]'])
def test_a_broken_snapshot_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        Watermarks.restore(data)


@pytest.mark.parametrize(
    ("first", "admission", "code"),
    [
        (Heartbeat, ROOM, "malformed"),
        (Goodbye(), ROOM, "malformed"),
        (Hello("camera-7", "1", STREAM, 0, protocol=2), ROOM, "protocol"),
        (Hello("../etc", "1", STREAM, 0), ROOM, "agent_id"),
        (Hello("camera-7", "1", STREAM, 0, home_region="E U"), ROOM, "agent_id"),
        (Hello("camera-7", "1", b"short", 0), ROOM, "malformed"),
        (Hello("camera-7", "1", STREAM, 0, labels={"k": "v" * 300}), ROOM, "malformed"),
        (HELLO, Admission(10, 10, draining=False), "busy"),
        (HELLO, Admission(0, 10, draining=True), "draining"),
    ],
)
def test_who_is_not_taken(first: object, admission: Admission, code: str) -> None:
    refused = greet(first, admission)
    assert isinstance(refused, Refused)
    assert refused.code == code
    assert refused.message


def test_who_is_taken() -> None:
    assert greet(HELLO, ROOM) is None
