"""The session with a hub apart from its IO: a table of states, a list of hubs, a window over the spool."""

from nervure_edge.session.hubs import HubList
from nervure_edge.session.link import Handler, Link, LinkDownError
from nervure_edge.session.orders import Assembler
from nervure_edge.session.outbox import Outbox
from nervure_edge.session.runner import SessionRunner
from nervure_edge.session.states import TABLE, Effect, Happened, IllegalStepError, State, step
from nervure_edge.session.window import Window

__all__ = [
    "TABLE",
    "Assembler",
    "Effect",
    "Handler",
    "Happened",
    "HubList",
    "IllegalStepError",
    "Link",
    "LinkDownError",
    "Outbox",
    "SessionRunner",
    "State",
    "Window",
    "step",
]
