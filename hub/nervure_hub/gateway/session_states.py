"""The hub's end of a session as a table.

Laws
    1. Everything that decides which frame may come when lives in ``TRANSITIONS``; nothing else compares states.
    2. Nothing happens before the greeting: the agent's first frame is Hello, or the session is broken.
    3. Draining changes what the hub wants, not what it takes: a draining session accepts frames to its end, so nothing
       that was on its way is lost.
    4. After Goodbye only the end may come: the agent has said that it sends no more, the hub still acknowledges.
    5. CLOSED is final; ending twice is harmless, anything else on a closed session is our bug.

The table knows nothing of protobuf, journals or time.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from nervure_core.errors import PeerError


class SessionState(Enum):
    """Where a session is."""

    GREETING = "greeting"
    OPEN = "open"
    DRAINING = "draining"
    LEAVING = "leaving"
    CLOSED = "closed"


class SessionEvent(Enum):
    """What can happen to it."""

    WELCOMED = "welcomed"
    """Hello came and the hub takes the agent."""
    REFUSED = "refused"
    """Hello came, or should have, and the hub does not take the agent."""
    FRAME = "frame"
    """Any frame but Hello and Goodbye."""
    DRAIN = "drain"
    """The hub has asked the agent to move."""
    GOODBYE = "goodbye"
    ENDED = "ended"
    """The stream is over, from either end."""


class SessionViolation(PeerError):
    """A frame came that the session's state does not allow.

    Attributes:
        state: Where the session was.
        event: What came.
    """

    code = "session"

    def __init__(self, state: SessionState, event: SessionEvent) -> None:
        super().__init__(f"{event.value} is not allowed in a session that is {state.value}")
        self.state = state
        self.event = event


_S, _E = SessionState, SessionEvent

TRANSITIONS: Mapping[SessionState, Mapping[SessionEvent, SessionState]] = MappingProxyType(
    {
        _S.GREETING: MappingProxyType(
            {_E.WELCOMED: _S.OPEN, _E.REFUSED: _S.CLOSED, _E.DRAIN: _S.CLOSED, _E.ENDED: _S.CLOSED}
        ),
        _S.OPEN: MappingProxyType(
            {_E.FRAME: _S.OPEN, _E.DRAIN: _S.DRAINING, _E.GOODBYE: _S.LEAVING, _E.ENDED: _S.CLOSED}
        ),
        _S.DRAINING: MappingProxyType(
            {_E.FRAME: _S.DRAINING, _E.DRAIN: _S.DRAINING, _E.GOODBYE: _S.LEAVING, _E.ENDED: _S.CLOSED}
        ),
        _S.LEAVING: MappingProxyType({_E.DRAIN: _S.LEAVING, _E.ENDED: _S.CLOSED}),
        _S.CLOSED: MappingProxyType({_E.DRAIN: _S.CLOSED, _E.ENDED: _S.CLOSED}),
    }
)


def step(state: SessionState, event: SessionEvent) -> SessionState:
    """Return the state after ``event``.

    Raises:
        SessionViolation: The table has no such cell.
    """
    after = TRANSITIONS[state].get(event)
    if after is None:
        raise SessionViolation(state, event)
    return after
