"""Where a component's settings come from: a TOML file, then the environment, then flags; the later one wins.

Rules:
- A component has one frozen pydantic model; it is validated whole, before anything starts, and every fault is reported
  at once as ``source: field: found X, why``.
- ``PREFIX__SPOOL__QUOTA_MIB=8`` sets ``spool.quota_mib``; lists and tables in the environment are JSON, unless the
  field's own validator reads text.
- Only an entry point calls this, and it hands the environment over: nothing below reads ``os.environ``.

>>> class Spool(BaseModel):
...     quota_mib: int = 64
>>> load_settings(Spool, prefix="NERVURE_X__", environment={"NERVURE_X__QUOTA_MIB": "8"}).quota_mib
8
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from nervure_core.errors import ConfigurationError
from nervure_core.validation import describe_fault

_M = TypeVar("_M", bound=BaseModel)


def load_settings(
    model: type[_M],
    *,
    prefix: str,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    hint: str = "",
) -> _M:
    """Merge the three sources and validate the whole.

    Args:
        model: The component's settings.
        prefix: What its names in the environment begin with, such as ``NERVURE_HUB__``.
        file: TOML file, or None.
        environment: Usually ``os.environ``; other names are not looked at.
        flags: Nested like the model; None values count as not given.
        hint: Where the user finds the settings explained.

    Raises:
        ConfigurationError: The file can't be read or a value is wrong; every fault is named.
    """
    merged: dict[str, Any] = {}
    origins: dict[tuple[str, ...], str] = {}
    if file is not None:
        _merge(merged, read_toml(file), str(file), origins)
    for name in sorted(environment or {}):
        if name.startswith(prefix):
            path = name.removeprefix(prefix).lower().split("__")
            _merge(merged, _nest(path, _text((environment or {})[name])), f"environment {name}", origins)
    _merge(merged, flags or {}, "flags", origins)
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, origins), hint=hint) from error


def read_toml(file: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        ConfigurationError: It is not there, not readable, or no TOML; the message has the line.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{file}: can't be read: {error.strerror}", hint="check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: not TOML: {error}", hint="correct that line") from error


def _explain(error: ValidationError, origins: Mapping[tuple[str, ...], str]) -> str:
    lines: list[str] = []
    for fault in error.errors(include_url=False, include_context=False):
        path = tuple(str(step) for step in fault["loc"])
        # A fault of a whole table is blamed on whatever set a key inside it last.
        near = (origins.get(path[:length]) for length in range(len(path), -1, -1))
        inside = (origin for key, origin in reversed(list(origins.items())) if key[: len(path)] == path)
        origin = next((found for found in (*near, *inside) if found), "")
        lines.append(
            f"{origin}: {describe_fault(fault)}" if origin and fault["type"] != "missing" else describe_fault(fault)
        )
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
            inner = into.setdefault(key, {})
            if not isinstance(inner, dict):
                inner = into[key] = {}
            _merge(cast("dict[str, Any]", inner), cast("Mapping[str, Any]", value), origin, origins, here)
        else:
            into[key] = value
            origins.pop(here, None)
            origins[here] = origin


def _nest(path: list[str], value: object) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return cast("dict[str, Any]", value)


def _text(value: str) -> object:
    """Read a list or table written as JSON; leave every other text for the field's own validator."""
    if value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
