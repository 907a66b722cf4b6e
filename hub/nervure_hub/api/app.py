"""The hub's HTTP API as one application."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any

from fastapi import APIRouter, FastAPI

from nervure_core import __version__
from nervure_hub.api import errors, events, fleet, models
from nervure_hub.api.limits import BodyLimit
from nervure_hub.api.schemas import ErrorBody
from nervure_hub.context import HubContext, LakeQuery

_GROUP = "nervure.api"
_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request can't be served as it is; `hint` says what to change."},
    "5XX": {"model": ErrorBody, "description": "Something the hub needs failed, or the hub itself."},
}


def create_app(
    context: HubContext, *, lake_query: LakeQuery, extra_routers: Sequence[APIRouter] | None = None
) -> FastAPI:
    """Return the application.

    Args:
        context: What the routes work on.
        lake_query: Answers questions to the event lake.
        extra_routers: More routes; None takes those of the entry points ``nervure.api``.
    """
    app = FastAPI(
        title="Nervure hub",
        version=__version__,
        summary="Devices, events, models and rounds of one region.",
        responses=_ERRORS,
        redoc_url=None,  # one page of documentation is enough: /docs
    )
    errors.install(app)
    app.add_middleware(BodyLimit)
    app.include_router(fleet.create(context))
    app.include_router(events.create(lake_query))
    app.include_router(models.create(context))
    for router in plugin_routers(context) if extra_routers is None else extra_routers:
        app.include_router(router)
    return app


def plugin_routers(context: HubContext) -> list[APIRouter]:
    """Return the routers that installed parts bring by entry points ``nervure.api``."""
    return [point.load()(context) for point in sorted(entry_points(group=_GROUP), key=lambda point: point.name)]
