"""Pydantic's errors in one line: which field, what was found, what is wrong."""

from __future__ import annotations

from pydantic import ValidationError

_SHOWN = 80


def problems(error: ValidationError) -> list[str]:
    """Return one line per problem, such as ``heartbeat_s: found -1: should be greater than 0``."""
    lines: list[str] = []
    for item in error.errors(include_url=False, include_context=False):
        where = ".".join(str(step) for step in item["loc"]) or "the whole"
        message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
        found = repr(item["input"])
        if item["type"] == "extra_forbidden":
            lines.append(f"{where}: unknown key")
        elif item["type"] in ("missing", "value_error") and isinstance(item["input"], dict):
            lines.append(f"{where}: {message}")
        else:
            lines.append(f"{where}: found {found[:_SHOWN]}{'…' if len(found) > _SHOWN else ''}: {message}")
    return lines


def first_problem(error: ValidationError) -> str:
    """Return the first problem, and how many more there are."""
    lines = problems(error)
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return lines[0] + more
