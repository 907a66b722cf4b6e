"""Find a scenario by name or path, read it, and say clearly what is wrong with it.

>>> [scenario.name for scenario in shipped_scenarios()]
['iot-23', 'one-region', 'three-regions']
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from nervure_core.errors import ConfigurationError
from nervure_simulations.scenarios.model import Overrides, Scenario

SUFFIXES = (".yaml", ".yml")


class ScenarioError(ConfigurationError):
    """A scenario is not there or not valid."""

    code = "scenario"


def shipped_scenarios() -> list[Scenario]:
    """Return the scenarios that come with Nervure, by name."""
    library = resources.files("nervure_simulations.scenarios") / "library"
    files = sorted((file for file in library.iterdir() if file.name.endswith(SUFFIXES)), key=lambda file: file.name)
    return [_parse(file.read_text(encoding="utf-8"), file.name) for file in files]


def load_scenario(name_or_path: str, overrides: Overrides | None = None) -> Scenario:
    """Return a shipped scenario by its name, or the one in a file by its path.

    Args:
        name_or_path: ``three-regions``, or a path that ends in ``.yaml`` or ``.yml``.
        overrides: What the command line changes.

    Raises:
        ScenarioError: There is none, or it is not valid; the message names file, field and value.
    """
    if name_or_path.endswith(SUFFIXES):
        path = Path(name_or_path)
        try:
            scenario = _parse(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise ScenarioError(f"{path}: can't be read: {_reason(error)}") from error
    else:
        shipped = {scenario.name: scenario for scenario in shipped_scenarios()}
        if name_or_path not in shipped:
            raise ScenarioError(
                f"there is no scenario {name_or_path!r}; shipped are {', '.join(shipped)}",
                hint="give one of these names or the path of a .yaml file",
            )
        scenario = shipped[name_or_path]
    if overrides is None:
        return scenario
    try:
        return scenario.with_overrides(overrides)
    except ValidationError as error:
        raise ScenarioError(_explain(scenario.name, error)) from error


def _parse(text: str, where: str) -> Scenario:
    try:
        data: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise ScenarioError(f"{where}: not YAML{line}: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(data, dict):
        raise ScenarioError(f"{where}: a scenario is a mapping with name and regions, found {type(data).__name__}")
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        raise ScenarioError(
            _explain(where, error), hint="nervure simulate --list shows the shipped scenarios to start from"
        ) from error


def _explain(where: str, error: ValidationError) -> str:
    """Say it in one line a problem: where, which field, what was found."""
    problems: list[str] = []
    for problem in error.errors(include_url=False):
        field = ".".join(str(part) for part in problem["loc"]) or "the scenario"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "unknown key"
        found = problem["input"]
        shown = f" (found {found!r})" if isinstance(found, str | int | float | bool | None) else ""
        problems.append(f"{field}: {message[:1].lower() + message[1:]}{shown}")
    return f"{where}: " + "; ".join(problems)


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
