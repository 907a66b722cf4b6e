"""Finds workloads by their entry points, so that a third party can bring one.

Rules: nothing is imported before it is asked for by name; a plug-in that cannot be imported is a configuration error
that names the distribution's entry point, never a traceback.

>>> sorted(available_workloads())[-1]
'table'
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from nervure_core.errors import ConfigurationError
from nervure_edge.workloads.contract import Workload, WorkloadConfig

GROUP = "nervure.workloads"


def available_workloads() -> dict[str, EntryPoint]:
    """Return the installed workloads by name; nothing is imported."""
    return {point.name: point for point in entry_points(group=GROUP)}


def open_workload(name: str, config: WorkloadConfig) -> Workload:
    """Make the workload ``name``.

    Raises:
        ConfigurationError: There is none of that name, it cannot be imported, or it refuses its options.
    """
    points = available_workloads()
    point = points.get(name)
    if point is None:
        known = ", ".join(sorted(points)) or "none is installed"
        raise ConfigurationError(f"workload: there is no {name!r}", hint=f"take one of: {known}")
    try:
        loaded: object = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"workload {name!r}: its plug-in {point.value} cannot be imported: {error}",
            hint="install what it needs, or remove the package that brings it",
        ) from error
    return cast("Callable[[WorkloadConfig], Workload]", loaded)(config)
