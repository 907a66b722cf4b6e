"""The session of an agent with its hubs, as a table.

Laws:
1. Everything that changes the state of a session is in this file; nobody else compares two states to find a third.
2. This file knows no clock, no gRPC and no hub names: it maps (state, event) to (state, effect), and the shell carries
   the effect out and reports back what happened.
3. A pair that is not in the table is a bug of the shell and raises; nothing is ignored silently. What may honestly
   happen in any order (a second ``STOP``, a cut while stopping) therefore has its own cell.
4. After every end that nobody asked for (``CUT``, ``REFUSED``, ``MISMATCHED``) the session waits before it dials
   again; after ``MOVE_DUE`` it does not, because the hub has spread the arrivals already.
5. ``CLOSED`` is the only state without a way out, and ``STOP`` leads there from everywhere.
6. Events are sent in ``LIVE``, ``MOVING`` and ``DRAINING`` only, so a hub never sees a frame before it said Welcome.

    RESTING ──START──▶ CONNECTING ──OPENED──▶ GREETING ──WELCOMED──▶ LIVE ──MOVE──▶ MOVING
                          ▲    │ CUT             │ CUT, REFUSED        │ CUT          │ MOVE_DUE: dial the next hub
                        RETRY  ▼                 ▼                     ▼              ▼
                       BACKING_OFF ◀─────────────┴─────────────────────┘          CONNECTING
    STOP: LIVE, MOVING ▶ DRAINING ──DRAINED, CUT──▶ CLOSED; from every other state ▶ CLOSED

>>> step(State.LIVE, Happened.CUT)
(<State.BACKING_OFF: 'backing_off'>, <Effect.WAIT: 'wait'>)
"""

from __future__ import annotations

from enum import StrEnum

from nervure_core.errors import InternalError


class State(StrEnum):
    """Where a session stands."""

    RESTING = "resting"
    CONNECTING = "connecting"
    GREETING = "greeting"
    LIVE = "live"
    MOVING = "moving"
    DRAINING = "draining"
    BACKING_OFF = "backing_off"
    CLOSED = "closed"


class Happened(StrEnum):
    """What the shell reports."""

    START = "start"
    OPENED = "opened"
    """The channel is up; Hello may be sent."""
    WELCOMED = "welcomed"
    REFUSED = "refused"
    MISMATCHED = "mismatched"
    """The hub speaks another version of the contract."""
    MOVE = "move"
    """The hub asks the agent to go elsewhere within a window."""
    MOVE_DUE = "move_due"
    CUT = "cut"
    """The stream ended or failed, whoever's fault it was."""
    RETRY = "retry"
    """The wait is over."""
    STOP = "stop"
    DRAINED = "drained"
    """Everything spooled is acknowledged, or the time for that is over."""


class Effect(StrEnum):
    """What the shell has to do next."""

    DIAL = "dial"
    """Open a channel to the next hub of the list."""
    GREET = "greet"
    """Send Hello and wait for the answer."""
    PUMP = "pump"
    """Send and receive until something happens."""
    SPREAD = "spread"
    """Go on sending; move at a random moment of the window."""
    WAIT = "wait"
    """Wait with full jitter."""
    WAIT_LONG = "wait_long"
    """Wait long: trying again soon cannot help."""
    FLUSH = "flush"
    """Send what is left, within a bound, then Goodbye."""
    HANG_UP = "hang_up"
    """Close the stream and the channel."""
    NOTHING = "nothing"


TABLE: dict[State, dict[Happened, tuple[State, Effect]]] = {
    State.RESTING: {
        Happened.START: (State.CONNECTING, Effect.DIAL),
        Happened.STOP: (State.CLOSED, Effect.NOTHING),
    },
    State.CONNECTING: {
        Happened.OPENED: (State.GREETING, Effect.GREET),
        Happened.CUT: (State.BACKING_OFF, Effect.WAIT),
        Happened.STOP: (State.CLOSED, Effect.HANG_UP),
    },
    State.GREETING: {
        Happened.WELCOMED: (State.LIVE, Effect.PUMP),
        Happened.REFUSED: (State.BACKING_OFF, Effect.WAIT),
        Happened.MISMATCHED: (State.BACKING_OFF, Effect.WAIT_LONG),
        Happened.CUT: (State.BACKING_OFF, Effect.WAIT),
        Happened.STOP: (State.CLOSED, Effect.HANG_UP),
    },
    State.LIVE: {
        Happened.MOVE: (State.MOVING, Effect.SPREAD),
        Happened.REFUSED: (State.BACKING_OFF, Effect.WAIT),
        Happened.CUT: (State.BACKING_OFF, Effect.WAIT),
        Happened.STOP: (State.DRAINING, Effect.FLUSH),
    },
    State.MOVING: {
        # A second Move only changes the list of hubs: the window that runs already stands.
        Happened.MOVE: (State.MOVING, Effect.NOTHING),
        Happened.MOVE_DUE: (State.CONNECTING, Effect.DIAL),
        Happened.REFUSED: (State.BACKING_OFF, Effect.WAIT),
        Happened.CUT: (State.BACKING_OFF, Effect.WAIT),
        Happened.STOP: (State.DRAINING, Effect.FLUSH),
    },
    State.DRAINING: {
        Happened.MOVE: (State.DRAINING, Effect.NOTHING),
        Happened.MOVE_DUE: (State.DRAINING, Effect.NOTHING),
        Happened.REFUSED: (State.CLOSED, Effect.HANG_UP),
        Happened.CUT: (State.CLOSED, Effect.HANG_UP),
        Happened.STOP: (State.DRAINING, Effect.NOTHING),
        Happened.DRAINED: (State.CLOSED, Effect.HANG_UP),
    },
    State.BACKING_OFF: {
        Happened.RETRY: (State.CONNECTING, Effect.DIAL),
        Happened.STOP: (State.CLOSED, Effect.NOTHING),
    },
    State.CLOSED: {
        Happened.STOP: (State.CLOSED, Effect.NOTHING),
        Happened.CUT: (State.CLOSED, Effect.NOTHING),
    },
}


class IllegalStepError(InternalError):
    """The shell reported something that cannot happen in this state.

    Attributes:
        state: Where the session stood.
        happened: What was reported.
    """

    code = "illegal_session_step"

    def __init__(self, state: State, happened: Happened) -> None:
        super().__init__(f"session: {happened.value} cannot happen in state {state.value}")
        self.state = state
        self.happened = happened


def step(state: State, happened: Happened) -> tuple[State, Effect]:
    """Return the next state and what to do.

    Raises:
        IllegalStepError: The pair is not in the table.
    """
    try:
        return TABLE[state][happened]
    except KeyError:
        raise IllegalStepError(state, happened) from None
