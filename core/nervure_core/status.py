"""The one table from families of errors to statuses: gRPC between machines, HTTP towards people's tools.

The closest class in an error's ancestry decides. Internal errors never show their message to a peer.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import grpc

from nervure_core.errors import ConfigurationError, InputError, InternalError, NervureError, PeerError, WorldError


@dataclass(frozen=True, slots=True)
class Status:
    """What the two protocols call a family."""

    grpc: grpc.StatusCode
    http: HTTPStatus
    public: bool = True
    """Whether the message may be shown to the other side."""


CATALOGUE: dict[type[NervureError], Status] = {
    ConfigurationError: Status(grpc.StatusCode.FAILED_PRECONDITION, HTTPStatus.UNPROCESSABLE_ENTITY),
    InputError: Status(grpc.StatusCode.INVALID_ARGUMENT, HTTPStatus.BAD_REQUEST),
    PeerError: Status(grpc.StatusCode.INVALID_ARGUMENT, HTTPStatus.BAD_GATEWAY),
    WorldError: Status(grpc.StatusCode.UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE),
    InternalError: Status(grpc.StatusCode.INTERNAL, HTTPStatus.INTERNAL_SERVER_ERROR, public=False),
}
_UNKNOWN = Status(grpc.StatusCode.UNKNOWN, HTTPStatus.INTERNAL_SERVER_ERROR, public=False)


def status_of(error: BaseException) -> Status:
    """Return the status of the closest family of ``error``; anything foreign is unknown and private."""
    for kind in type(error).__mro__:
        found = CATALOGUE.get(kind)
        if found is not None:
            return found
    return _UNKNOWN
