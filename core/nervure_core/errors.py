"""The families of errors, told apart by who must act.

    NervureError
     ├─ ConfigurationError   the user: change a flag, a file, a setting            exit 2
     ├─ InputError           the user: this file, query or bundle is not usable    exit 3
     ├─ PeerError            the other side of a connection broke the contract     exit 4
     ├─ WorldError           disk, network, clock, a server that is not there      exit 5
     └─ InternalError        we: a bug                                             exit 70

Rules: a leaf lives beside the code that raises it and carries ids as attributes; the message says what is wrong and
where, ``hint`` says what to do; libraries' exceptions are mapped at the lowest floor with ``raise ... from``; the one
table from errors to gRPC status is ``nervure_core.status``.

>>> raise InputError("flows.pcap: not a capture file (first bytes 0x504b0304)", hint="give a .pcap or .pcapng file")
Traceback (most recent call last):
...
nervure_core.errors.InputError: flows.pcap: not a capture file (first bytes 0x504b0304)
"""

from __future__ import annotations

from typing import ClassVar


class NervureError(Exception):
    """The base of every error that Nervure raises on purpose.

    Args:
        message: What is wrong and where, one sentence without a final stop.
        hint: What the reader can do about it; empty where there is nothing to do.
    """

    code: ClassVar[str] = "error"
    """Stable machine-readable name, printed by ``--json``."""
    exit_code: ClassVar[int] = 1
    """What the command ``nervure`` exits with."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Ray pickles exceptions that cross an actor call; keyword-only arguments would be lost by the default.
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(kind: type[NervureError], args: tuple[object, ...], state: dict[str, object]) -> NervureError:
    error = kind.__new__(kind, *args)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


class ConfigurationError(NervureError):
    """A setting is unknown, of the wrong type, out of bounds, or contradicts another."""

    code = "configuration"
    exit_code = 2


class InputError(NervureError):
    """A file, query, bundle or argument that the user gave is not usable."""

    code = "input"
    exit_code = 3


class PeerError(NervureError):
    """The other side of a connection refused us or broke the contract."""

    code = "peer"
    exit_code = 4


class WorldError(NervureError):
    """Something outside the process is missing or failed: disk, network, clock, server."""

    code = "world"
    exit_code = 5


class InternalError(NervureError):
    """An invariant of ours does not hold: a bug."""

    code = "internal"
    exit_code = 70
