"""Pydantic's errors in one line: which field, what was found, what is wrong."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_SHOWN = 80


def describe_fault(fault: ErrorDetails) -> str:
    """Return one fault, such as ``heartbeat_s: found -1: should be greater than 0``."""
    where = ".".join(str(step) for step in fault["loc"])
    prefix = f"{where}: " if where else ""
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if fault["type"] == "extra_forbidden":
        return f"{prefix}unknown key"
    if fault["type"] == "missing":
        return f"{prefix}required and not given"
    if isinstance(fault["input"], dict):
        return prefix + message
    found = repr(fault["input"])
    return f"{prefix}found {found[:_SHOWN]}{'…' if len(found) > _SHOWN else ''}: {message}"


def problems(error: ValidationError) -> list[str]:
    """Return one line per fault."""
    return [describe_fault(fault) for fault in error.errors(include_url=False, include_context=False)]


def first_problem(error: ValidationError) -> str:
    """Return the first fault, and how many more there are."""
    lines = problems(error)
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return lines[0] + more
