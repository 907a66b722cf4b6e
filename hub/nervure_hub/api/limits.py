"""How large a request's body may be, enforced while it arrives.

A declared length is refused before a byte is read; an undeclared one is counted. Uploads have their own bound.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nervure_hub.api.errors import TooLarge, error_response

BODY_BYTES = 1 << 20
UPLOAD_BYTES = 1 << 30
UPLOADS: dict[str, int] = {"/v1/models": UPLOAD_BYTES}
"""Bytes that a route takes, by its path; other parts add theirs where they are loaded."""


class BodyLimit:
    """ASGI middleware that bounds bodies.

    Args:
        app: What comes behind.
        limits: Bytes by path; other paths take ``BODY_BYTES``.
    """

    def __init__(self, app: ASGIApp, limits: Mapping[str, int] = UPLOADS) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limits.get(scope["path"], BODY_BYTES)
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not declared.isdigit() or int(declared) > limit:
            await error_response(_too_large(limit))(scope, receive, send)
            return
        seen = 0
        answered = False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _too_large(limit)
            return message

        async def corrected(message: Message) -> None:
            """Say "too large", where the framework would say that it could not parse what it did not get."""
            nonlocal answered
            if seen <= limit:
                await send(message)
            elif not answered:
                answered = True
                await error_response(_too_large(limit))(scope, receive, send)

        await self._app(scope, counted, corrected)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the request's body is larger than {limit >> 20} MiB", hint="send less in one request")
