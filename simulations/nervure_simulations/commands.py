"""``nervure simulate``: a whole fleet on this machine, from a scenario to a report."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from nervure_core.command import emit, json_option
from nervure_core.errors import ConfigurationError

EXIT_NOT_KEPT = 1
"""The run ended in order, but something that its scenario promises was not reached."""


@click.command()
@click.argument("scenario", required=False)
@click.option("--list", "listing", is_flag=True, help="List the shipped scenarios.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the report and of everything the run leaves.")
@click.option("--strategy", type=click.Choice(["fedavg", "fedprox", "fedmedian"]), help="How updates are joined.")
@click.option("--rounds", type=int, help="How many federated rounds.")
@click.option("--agents", type=int, help="How many agents, spread evenly over the regions.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of IoT-23 captures, one site each, instead of the shipped sites.",
)
@click.option("--seed", type=int, help="Seed of everything that is drawn.")
@click.option("--no-fault", is_flag=True, help="Let nothing go wrong on purpose.")
@json_option
def simulate(
    scenario: str | None,
    *,
    listing: bool,
    out: Path | None,
    strategy: str | None,
    rounds: int | None,
    agents: int | None,
    data: Path | None,
    seed: int | None,
    no_fault: bool,
    as_json: bool,
) -> None:
    """Run a whole fleet on this machine: etcd, Ray, hubs, agents, rounds, a fault, and a report.

    SCENARIO is the name of a shipped scenario or the path of a YAML file. The report is OUT/report.html for people and
    OUT/report.json for programs. Exits with 1 if the run ended but did not reach what its scenario promises.

    \b
    Examples:
      nervure simulate --list
      nervure simulate three-regions --out out/demo
      nervure simulate three-regions --strategy fedmedian --rounds 15 --no-fault
      nervure simulate iot-23 --data iot-23-captures
      nervure simulate ./my.yaml --agents 12 --json
    """
    from nervure_simulations.scenarios import Overrides, load_scenario, shipped_scenarios

    if listing:
        shipped = shipped_scenarios()
        rows = [
            {"name": one.name, "title": one.title, "regions": list(one.regions), "agents": one.total_agents,
             "rounds": one.learning.rounds}
            for one in shipped
        ]  # fmt: skip
        emit(rows, as_json=as_json, human=_table)
        return
    if scenario is None:
        raise ConfigurationError("no scenario is given", hint="nervure simulate --list shows those there are")
    wanted = load_scenario(scenario)  # its mistakes are told before captures are read
    if wanted.traffic.needs_data and data is None:
        raise ConfigurationError(
            f"scenario {wanted.name} is about captures that are not shipped", hint="give their folder with --data DIR"
        )
    from nervure_simulations.sites import load_iot23, load_sites

    sites = load_sites() if data is None else load_iot23(data)
    if data is not None and agents is None:
        agents = len(sites)  # one capture is one site is one agent
    chosen = load_scenario(
        scenario, Overrides(strategy=strategy, rounds=rounds, agents=agents, seed=seed, no_fault=no_fault)
    )

    from nervure_simulations.simulate import simulate_scenario

    kept = simulate_scenario(chosen, out or Path("out") / chosen.name, sites, as_json=as_json, command=_command())
    if not kept:
        sys.exit(EXIT_NOT_KEPT)


def _command() -> str:
    return " ".join(["nervure", *sys.argv[1:]])


def _table(rows: list[dict[str, object]]) -> str:
    width = max(len(str(row["name"])) for row in rows)
    return "\n".join(
        f"{row['name']!s:<{width}}  {row['title']} ({row['agents']} agents, {row['rounds']} rounds)" for row in rows
    )
