"""``nervure agent``: run an agent on this device, and look at its configuration.

The only place of the agent that reads the environment, catches signals and prints. Everything heavy is imported when a
subcommand runs, so ``--help`` answers at once.
"""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nervure_core.command import emit, json_option
from nervure_core.errors import ConfigurationError

if TYPE_CHECKING:
    from nervure_edge.config import AgentConfig

CONFIG_OPTION = click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="TOML file; flags win over it."
)


@click.group()
def agent() -> None:
    """Run an agent on this device.

    \b
    Examples:
      nervure agent run --pcap flows.pcap --hub localhost:7443
      nervure agent config --show --config agent.toml
    """


@agent.command()
@CONFIG_OPTION
@click.option("--pcap", metavar="FILE", help="Sense the flows of a capture file (pcap, pcapng).")
@click.option("--records", metavar="FILE", help="Sense flow records: Zeek, Suricata, IoT-23, or a flow table.")
@click.option("--interface", metavar="IF", help="Sense live traffic of a network interface.")
@click.option("--input", "input_", metavar="FILE", help="Sense rows: CSV, JSON lines, or - for standard input.")
@click.option("--workload", metavar="NAME", help="Which workload senses; the flags above imply one.")
@click.option("--option", "options", metavar="KEY=VALUE", multiple=True, help="An option of the workload.")
@click.option("--hub", "hubs", metavar="HOST:PORT", multiple=True, help="A hub, best first; none works offline.")
@click.option("--model", metavar="DIR", help="A local bundle to start with when a hub has deployed nothing newer.")
@click.option("--data", metavar="DIR", help="Folder of spool and models, one per agent.")
@click.option("--id", "agent_id", metavar="NAME", help="Name of this agent; the host's name by default.")
@click.option("--region", metavar="NAME", help="The region this agent belongs to.")
@click.option("--labels", metavar="KEY=VALUE", multiple=True, help="A label that deployments may select by.")
@click.option("--once", is_flag=True, help="Stop when the source has ended and everything is delivered.")
@click.option(
    "--print",
    "printing",
    type=click.Choice(["none", "findings", "all"]),
    help="Which events to print; findings when there is no hub.",
)
@json_option
def run(config_file: Path | None, *, once: bool, printing: str | None, as_json: bool, **given: Any) -> None:
    """Sense, decide, and report to a hub.

    Without a hub the agent works for itself and ends with its source; what it found is printed and rests in the spool.
    Standard output has one line when ready and one at the end; with --json both are objects.

    \b
    Examples:
      nervure agent run --pcap flows.pcap --hub localhost:7443
      nervure agent run --interface eth0 --hub eu1:7443 --hub eu2:7443 --labels site=porch
      nervure agent run --records conn.log --model out/model
      nervure agent run --input rows.csv --model out/iris --option label=species
      tail -f rows.jsonl | nervure agent run --input - --model out/model --print all
    """
    from nervure_edge.commands.running import Running, run_agent

    config = load(config_file, given)
    if config.model.bundle is None and not config.hubs and not _has_model(config):
        raise ConfigurationError(
            "there is neither a model nor a hub to get one from", hint="give --model DIR, or --hub HOST:PORT"
        )
    shown = printing or ("none" if config.hubs or as_json else "findings")
    run_agent(config, Running(once=once or not config.hubs, printing=shown, as_json=as_json))


@agent.command("config")
@CONFIG_OPTION
@click.option("--data", metavar="DIR", help="Folder of spool and models.")
@click.option("--id", "agent_id", metavar="NAME", help="Name of the agent.")
@click.option("--show", is_flag=True, help="Print the whole configuration with every default.")
@click.option("--check", is_flag=True, help="Only say whether it is valid.")
@json_option
def config_command(config_file: Path | None, *, show: bool, check: bool, as_json: bool, **given: Any) -> None:
    """Show or check the configuration.

    File, environment (NERVURE_AGENT__SPOOL__QUOTA_MIB=8) and flags are merged and validated as for run.

    \b
    Examples:
      nervure agent config --show
      nervure agent config --check --config /etc/nervure/agent.toml
    """
    if show and check:
        raise ConfigurationError("--show and --check contradict each other", hint="give one of them")
    config = load(config_file, given)
    if check:
        emit(
            {"valid": True, "agent_id": config.agent_id}, as_json=as_json, human=lambda _: "the configuration is valid"
        )
        return
    emit(config.model_dump(mode="json"), as_json=as_json, human=_as_toml)


def load(config_file: Path | None, given: dict[str, Any]) -> AgentConfig:
    """Merge file, environment and flags.

    Raises:
        ConfigurationError: Something is wrong or contradicts itself.
    """
    from nervure_core.settings import read_toml
    from nervure_edge.config_sources import PREFIX, load_config

    flags: dict[str, Any] = {key: given.get(key) or None for key in ("agent_id", "data", "region")}
    if given.get("hubs"):
        flags["hubs"] = tuple(given["hubs"])
    if given.get("labels"):
        flags["labels"] = _pairs("--labels", given["labels"])
    if given.get("model"):
        flags["model"] = {"bundle": given["model"]}
    workload = _workload(given)
    if workload:
        flags["workload"] = workload
    # Defaults that depend on the machine apply only where neither file nor environment says anything.
    in_file = read_toml(config_file) if config_file is not None else {}
    for key, default in (("agent_id", _host_name), ("data", _default_data)):
        if flags[key] is None and key not in in_file and PREFIX + key.upper() not in os.environ:
            flags[key] = default()
    return load_config(config_file, os.environ, flags)


def _workload(given: dict[str, Any]) -> dict[str, Any]:
    sources = {
        flag: given[key]
        for flag, key in (("pcap", "pcap"), ("records", "records"), ("interface", "interface"), ("input", "input_"))
        if given.get(key)
    }
    if len(sources) > 1:
        raise ConfigurationError(
            f"{' and '.join(f'--{flag}' for flag in sources)} contradict each other", hint="an agent senses one source"
        )
    options: dict[str, Any] = {**_pairs("--option", given.get("options") or ()), **sources}
    name = given.get("workload") or ("table" if "input" in sources else "network" if sources else None)
    if name == "network" and "input" in sources:
        raise ConfigurationError("--input is for rows, workload network senses flows", hint="give --records FILE")
    return {key: value for key, value in (("name", name), ("options", options)) if value}


def _pairs(flag: str, texts: tuple[str, ...]) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise ConfigurationError(f"{flag}: found {text!r}, should be KEY=VALUE")
        # A list of columns or a table of inputs is written as JSON; other texts are for the option's own validator.
        try:
            pairs[key] = json.loads(value) if value[:1] in ("[", "{") else value
        except ValueError as error:
            raise ConfigurationError(f"{flag} {key}: found {value!r}, which is no JSON: {error}") from error
    return pairs


def _has_model(config: AgentConfig) -> bool:
    return (config.data / "models" / "state.json").exists()


def _host_name() -> str:
    name = re.sub(r"[^a-z0-9._-]+", "-", socket.gethostname().lower()).strip("-._")[:63]
    return name or "agent"


def _default_data() -> str:
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return str(Path(state) / "nervure" / "agent")


def _as_toml(config: dict[str, Any]) -> str:
    """Write the configuration as the TOML file it could come from; what has no value is a comment."""
    lines: list[str] = []

    def table(path: str, values: dict[str, Any]) -> None:
        if path:
            lines.append(f"\n[{path}]")
        for key, value in values.items():
            if value is None:
                lines.append(f"# {key} =")
            elif not isinstance(value, dict):
                lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
        for key, value in values.items():
            if isinstance(value, dict):
                table(f"{path}.{key}" if path else key, value)

    table("", config)
    return "\n".join(lines)
