"""Where the configuration comes from: a TOML file, then the environment, then flags; the later one wins.

Rules:
- ``NERVURE_AGENT__SPOOL__QUOTA_MIB=8`` sets ``spool.quota_mib``; lists and tables are written as JSON or, where the
  field says so, comma separated.
- Only the entry point calls this module, and it hands over the environment: nothing here reads ``os.environ``.
- All faults are reported at once, each as ``source field: found, why``.

>>> load_config(None, {"NERVURE_AGENT__REGION": "asia"}, {"agent_id": "a", "data": "d"}).region
'asia'
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from nervure_core.errors import ConfigurationError
from nervure_edge.config import AgentConfig

PREFIX = "NERVURE_AGENT__"
HINT = "see `nervure agent config --show` for every key, its default and its unit"


def load_config(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> AgentConfig:
    """Merge the three sources and validate the whole.

    Args:
        file: TOML file, or None.
        environment: Only names that start with ``NERVURE_AGENT__`` are looked at.
        flags: Nested like the configuration; values of None count as not given.

    Raises:
        ConfigurationError: The file cannot be read or a value is wrong; every fault is named.
    """
    merged: dict[str, Any] = {}
    origins: dict[tuple[str, ...], str] = {}
    if file is not None:
        _merge(merged, read_toml(file), str(file), origins)
    for name in sorted(environment):
        if name.startswith(PREFIX):
            path = name.removeprefix(PREFIX).lower().split("__")
            _merge(merged, _nest(path, _text(environment[name])), f"environment {name}", origins)
    _merge(merged, flags, "flags", origins)
    try:
        return AgentConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, origins), hint=HINT) from error


def read_toml(file: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        ConfigurationError: It is not there, not readable, or no TOML; the message has the line.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}", hint="check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: not TOML: {error}", hint="correct that line") from error


def explain_validation(error: ValidationError, where: str) -> str:
    """Return one line per fault: the field, what was found, why it will not do."""
    return _explain(error, {(): where})


def _explain(error: ValidationError, origins: Mapping[tuple[str, ...], str]) -> str:
    lines: list[str] = []
    for fault in error.errors(include_url=False, include_context=False):
        path = tuple(str(part) for part in fault["loc"])
        field = ".".join(path) or "configuration"
        origin = next((origins[path[:n]] for n in range(len(path), -1, -1) if path[:n] in origins), "")
        message = fault["msg"].removeprefix("Value error, ")
        found = "" if fault["type"] == "missing" or isinstance(fault["input"], dict) else f" found {fault['input']!r},"
        if fault["type"] == "extra_forbidden":
            message, found = "no such setting", ""
        if fault["type"] == "missing":
            message = "is required and was not given"
        lines.append(f"{origin + ': ' if origin else ''}{field}:{found} {message[:1].lower() + message[1:]}")
    return "; ".join(lines)


def _merge(
    into: dict[str, Any],
    source: Mapping[str, Any],
    origin: str,
    origins: dict[tuple[str, ...], str],
    path: tuple[str, ...] = (),
) -> None:
    for key, value in source.items():
        if value is None:
            continue
        here = (*path, key)
        if isinstance(value, Mapping):
            existing = into.get(key)
            inner: dict[str, Any] = cast("dict[str, Any]", existing) if isinstance(existing, dict) else {}
            into[key] = inner
            _merge(inner, cast("Mapping[str, Any]", value), origin, origins, here)
        else:
            into[key] = value
            origins[here] = origin


def _nest(path: list[str], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return cast("dict[str, Any]", value)


def _text(value: str) -> Any:
    """Read a list or table written as JSON; leave every other text for the field's own validator."""
    if value[:1] in "[{" and value:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
