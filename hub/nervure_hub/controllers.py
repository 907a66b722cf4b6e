"""Running the loops that installed parts bring (entry points ``nervure.controllers``).

Rules: a loop that can't be loaded (its extra is not installed) is named and left out; a loop that fails is restarted with
backoff, and the others don't notice; all end together, by cancellation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from nervure_core.retry import Backoff
from nervure_hub.context import Controller, ControllerFactory, HubContext

_log = logging.getLogger(__name__)
_GROUP = "nervure.controllers"


def load_controllers(points: Sequence[EntryPoint] | None = None) -> list[tuple[str, ControllerFactory]]:
    """Return the factories of the installed controllers by name; those that can't be imported are logged and left out."""
    found = entry_points(group=_GROUP) if points is None else points
    factories: list[tuple[str, ControllerFactory]] = []
    for point in sorted(found, key=lambda item: item.name):
        try:
            factories.append((point.name, point.load()))
        except ImportError as error:
            _log.warning("controller %s is left out: %s", point.name, error)
    return factories


async def run_controllers(
    context: HubContext, factories: Sequence[tuple[str, ControllerFactory]] | None = None
) -> None:
    """Run every controller until cancelled."""
    chosen = load_controllers() if factories is None else factories
    async with asyncio.TaskGroup() as tasks:
        for name, factory in chosen:
            tasks.create_task(_keep(name, factory, context), name=f"controller-{name}")


async def _keep(name: str, factory: ControllerFactory, context: HubContext) -> None:
    backoff = Backoff(base_s=0.5, cap_s=30.0)
    while True:
        began_s = context.clock.monotonic_s()
        try:
            controller: Controller = factory(context)
            await controller.run()
            _log.info("controller %s has ended", name)
            return
        except Exception:  # noqa: BLE001 - the outermost loop of a plug-in: it is logged and tried again
            _log.exception("controller %s failed", name)
        if context.clock.monotonic_s() - began_s > 60.0:
            backoff.reset()
        await context.clock.sleep(backoff.next_delay_s())
