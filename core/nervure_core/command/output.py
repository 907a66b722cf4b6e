"""What a command prints: a table for people, JSON for machines, and errors for both."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from nervure_core.errors import NervureError

_F = TypeVar("_F", bound=Callable[..., Any])


def json_option(function: _F) -> _F:
    """Add ``--json`` as the parameter ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")(function)


def emit(data: Any, *, as_json: bool, human: Callable[[Any], str]) -> None:
    """Print ``data``: as one JSON document, or as the text that ``human`` makes of it."""
    if as_json:
        click.echo(json.dumps(data, default=str, ensure_ascii=False))
    else:
        click.echo(human(data))


def wants_json(arguments: list[str]) -> bool:
    """Return whether a command line asks for JSON."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return "--json" in arguments[:end]


def report_error(error: NervureError, *, as_json: bool) -> None:
    """Print an error on standard error."""
    if as_json:
        body = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
        print(json.dumps(body, ensure_ascii=False), file=sys.stderr)  # noqa: T201 - standard error is the interface here
        return
    click.secho("error: ", fg="red", bold=True, err=True, nl=False)
    click.echo(error.message, err=True)
    if error.hint:
        click.secho("hint:  ", fg="cyan", err=True, nl=False)
        click.echo(error.hint, err=True)
