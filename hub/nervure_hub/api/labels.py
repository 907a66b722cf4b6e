"""Labels as they stand in a query: ``label=site=hall&label=floor=2``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query

from nervure_core.errors import InputError

Labels = Annotated[list[str] | None, Query(description="key=value an agent must have; repeat for more")]


def parse(labels: Sequence[str] | None) -> dict[str, str]:
    """Return the labels by name.

    Raises:
        InputError: One is not ``key=value``.
    """
    found: dict[str, str] = {}
    for label in labels or ():
        name, equals, value = label.partition("=")
        if not name or not equals:
            raise InputError(f"label {label[:100]!r} is not key=value", hint="for example label=site=hall")
        found[name] = value
    return found
