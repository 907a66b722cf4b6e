"""Errors towards HTTP: one body, one table.

Rules
    1. Every answer that is no success is ``{"error": {"code", "message", "hint"}}``, from us, from the framework, or from
       a bug.
    2. The family decides the status (``nervure_core.status``); the leaves below say it better.
    3. A bug's message stays in the log.
"""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from nervure_core.errors import InputError, InternalError, NervureError
from nervure_core.status import status_of
from nervure_hub.objects import ObjectMissing
from nervure_hub.registry import ModelMissing, ReleaseRefused

_log = logging.getLogger(__name__)


class DeviceMissing(InputError):
    """No such device is known here."""

    code = "device-missing"


class TooLarge(InputError):
    """A request's body is larger than this route takes."""

    code = "too-large"


LEAVES: dict[type[NervureError], HTTPStatus] = {
    DeviceMissing: HTTPStatus.NOT_FOUND,
    ModelMissing: HTTPStatus.NOT_FOUND,
    ObjectMissing: HTTPStatus.NOT_FOUND,
    ReleaseRefused: HTTPStatus.CONFLICT,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}


def http_status(error: NervureError) -> HTTPStatus:
    """Return the HTTP status of an error: of the closest class that the table or its family knows."""
    for kind in type(error).__mro__:
        if kind in LEAVES:
            return LEAVES[kind]
    return status_of(error).http


def error_response(error: NervureError) -> JSONResponse:
    """Return the answer for an error."""
    shown = error
    if not status_of(error).public:
        _log.error("internal error in the API", exc_info=error)
        shown = InternalError("internal error", hint="the hub's log says more")
    body = {"error": {"code": shown.code, "message": shown.message, "hint": shown.hint}}
    return JSONResponse(body, status_code=http_status(error))


def install(app: FastAPI) -> None:
    """Make ``app`` answer every error in the one form."""

    async def ours(_: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, NervureError):
            error = InternalError(str(error))
        return error_response(error)

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        problems = error.errors() if isinstance(error, RequestValidationError) else ()
        first = problems[0] if problems else {"loc": (), "msg": str(error)}
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        message = f"{where or 'body'}: {str(first['msg']).removeprefix('Value error, ')}"
        return error_response(InputError(message, hint="/docs describes every request"))

    async def framework(_: Request, error: Exception) -> JSONResponse:
        status, detail = (error.status_code, str(error.detail)) if isinstance(error, HTTPException) else (500, "")
        body = {"error": {"code": f"http-{status}", "message": detail, "hint": "/docs lists the routes"}}
        return JSONResponse(body, status_code=status, headers=getattr(error, "headers", None))

    app.add_exception_handler(NervureError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(Exception, ours)
