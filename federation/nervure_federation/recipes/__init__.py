"""Recipes: settings of runs as YAML, shipped or a user's own.

A recipe is a mapping of ``RunSpec`` settings; its first comment line says what it is for. The model may be left out and
given at the start.

>>> merged({"recipe": "demo", "model": "flows", "rounds": 3}).rounds
3
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from nervure_core.errors import ConfigurationError, InputError
from nervure_federation.rounds.spec import RunSpec, parse_spec

__all__ = ["about", "load_recipe", "merged", "recipe_names"]

MAX_RECIPE_BYTES = 64 * 1024


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(item.name.removesuffix(".yaml") for item in files(__name__).iterdir() if item.name.endswith(".yaml"))


def about(name: str) -> str:
    """Return the first comment line of a shipped recipe: what it is for."""
    first = _shipped(name).read_text("utf-8").partition("\n")[0]
    return first.removeprefix("#").strip()


def load_recipe(name_or_file: str) -> dict[str, Any]:
    """Return the settings of a shipped recipe, or of a YAML file.

    Args:
        name_or_file: A shipped name, or a path; what has a suffix or a separator is a path.

    Raises:
        InputError: The file can't be read or is no YAML mapping.
        ConfigurationError: There is no such shipped recipe.
    """
    path = Path(name_or_file)
    if path.suffix or path.name != name_or_file:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}", hint="give a recipe file or a shipped recipe") from error
        return parse_yaml(data, str(path))
    return parse_yaml(_shipped(name_or_file).read_bytes(), f"recipe {name_or_file}")


def parse_yaml(data: bytes, where: str) -> dict[str, Any]:
    """Return the mapping in a recipe's bytes.

    Raises:
        InputError: It is no YAML, no mapping, or too large.
    """
    if len(data) > MAX_RECIPE_BYTES:
        raise InputError(f"{where}: {len(data)} bytes are more than a recipe has ({MAX_RECIPE_BYTES})")
    try:
        found = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise InputError(f"{where}: not YAML: {problem}") from error
    if not isinstance(found, dict):
        raise InputError(f"{where}: expected a mapping of settings, found {type(found).__name__}")
    return {str(key): value for key, value in found.items()}


def merged(settings: Mapping[str, Any]) -> RunSpec:
    """Return the run that settings ask for, over the recipe that they may name.

    ``options`` replace the recipe's options whole when the strategy is changed, and are merged into them otherwise;
    ``judge`` is merged into the recipe's.

    Raises:
        ConfigurationError: A setting is unknown or wrong, or there is no such recipe.
    """
    changes = {key: value for key, value in settings.items() if key != "recipe"}
    recipe = settings.get("recipe")
    if recipe is None:
        return parse_spec(changes)
    if not isinstance(recipe, str) or recipe not in recipe_names():
        raise _unknown(str(recipe))
    return parse_spec(overlaid(load_recipe(recipe), changes), where=f"recipe {recipe}")


def overlaid(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of ``base`` with ``changes`` over them."""
    result = {**base, **changes}
    same_strategy = result.get("strategy") == base.get("strategy")
    for key in ("options", "judge"):
        before, after = base.get(key), changes.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping) and (key == "judge" or same_strategy):
            result[key] = {**before, **after}
    if not same_strategy and "options" not in changes:
        result.pop("options", None)
    return result


def _shipped(name: str) -> Traversable:
    if name not in recipe_names():
        raise _unknown(name)
    return files(__name__) / f"{name}.yaml"


def _unknown(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"no recipe named {name!r}", hint=f"shipped are {', '.join(recipe_names())}; a file needs its suffix (.yaml)"
    )
