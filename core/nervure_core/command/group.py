"""The root of the command line."""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NoReturn

import click

from nervure_core import __version__
from nervure_core.command.output import report_error, wants_json
from nervure_core.errors import ConfigurationError, NervureError

_GROUP = "nervure.commands"
_SUMMARIES = {
    "agent": "Run an agent on this device.",
    "devices": "See which devices are here and what they run.",
    "events": "Ask, follow and export what agents found.",
    "faults": "Try the path of events against faults, by seed.",
    "hub": "Run a regional hub.",
    "models": "Pack, push and list models.",
    "range": "Make labelled traffic in network namespaces.",
    "rounds": "Start and watch federated rounds.",
    "simulate": "Run whole fleets on this machine.",
    "sites": "Use the shipped traffic by hand.",
}
"""Help lines of our own parts, so that ``nervure --help`` imports none of them."""


class PluginGroup(click.Group):
    """A group whose commands are loaded when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({point.name for point in entry_points(group=_GROUP)} | set(super().list_commands(ctx)))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        built_in = super().get_command(ctx, cmd_name)
        if built_in is not None:
            return built_in
        points = entry_points(group=_GROUP, name=cmd_name)
        return _load(next(iter(points))) if points else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: list[tuple[str, str]] = []
        for name in self.list_commands(ctx):
            built_in = super().get_command(ctx, name)
            rows.append((name, _SUMMARIES.get(name) or (built_in.get_short_help_str() if built_in else "")))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _load(point: EntryPoint) -> click.Command:
    try:
        command = point.load()
    except ModuleNotFoundError as error:
        part = point.value.partition(".")[0].removeprefix("nervure_")
        raise ConfigurationError(
            f"`nervure {point.name}` needs the module {error.name!r}, which is not installed",
            hint=f"pip install 'nervure[{part}]'",
        ) from error
    if not isinstance(command, click.Command):
        raise ConfigurationError(f"entry point {point.name} = {point.value} is no click command")
    return command


@click.group(cls=PluginGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nervure")
def cli() -> None:
    """Edge intelligence that learns together.

    Agents run small ONNX models on devices, hubs collect what they find, federated rounds improve the models, and
    every improvement goes back to the devices.

    \b
    Examples:
      nervure simulate three-regions --out out/demo
      nervure hub up --region europe
      nervure agent run --pcap flows.pcap --hub localhost:7443
      nervure events query "SELECT label, count(*) FROM events GROUP BY label"

    \b
    Shell completion:
      eval "$(nervure completion bash)"      (or zsh, fish)
    """


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Example:
      eval "$(nervure completion bash)"
    """
    from click.shell_completion import get_completion_class  # only this command needs it

    kind = get_completion_class(shell)
    if kind is None:
        raise ConfigurationError(f"no completion for {shell}")
    click.echo(kind(cli, {}, "nervure", "_NERVURE_COMPLETE").source())


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    line = sys.argv[1:] if arguments is None else arguments
    as_json = wants_json(line)
    try:
        result: Any = cli.main(line, prog_name="nervure", standalone_mode=False)
    except NervureError as error:
        report_error(error, as_json=as_json)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        if as_json:
            report_error(ConfigurationError(error.format_message()), as_json=True)
        else:
            error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader (head, less) has gone; nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("NERVURE_TRACEBACK") == "1":
            raise
        bug = NervureError(
            f"internal error: {type(error).__name__}: {error}",
            hint="this is a bug in Nervure: run again with NERVURE_TRACEBACK=1 and report what it prints",
        )
        report_error(bug, as_json=as_json)
        sys.exit(70)
    sys.exit(result if isinstance(result, int) else 0)
