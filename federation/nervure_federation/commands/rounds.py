"""``nervure rounds``: start federated runs and look at them, through a hub's API.

Importing this module costs little: no Flower, no rich, no numpy; what a subcommand needs it imports itself.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

import click

from nervure_core.command.output import emit, json_option
from nervure_core.errors import ConfigurationError
from nervure_federation.commands.heldout import heldout
from nervure_hub.commands.client import Api, api_option

POLL_S = 0.5
"""How often ``watch`` asks the hub."""


@click.group()
def rounds() -> None:
    """Start and watch federated rounds.

    \b
    Examples:
      nervure rounds start --recipe demo --model flows
      nervure rounds start --model flows --strategy fedprox --option mu=0.01 --rounds 10
      nervure rounds watch run-3f9a01c2d4
    """


rounds.add_command(heldout)


@rounds.command()
@click.argument("recipe_file", metavar="[RECIPE.yaml]", required=False, type=click.Path(dir_okay=False))
@click.option("--recipe", metavar="NAME", help="A shipped recipe; `nervure rounds recipes` lists them.")
@click.option("--model", metavar="NAME", help="Model to improve, from its latest release.")
@click.option("--strategy", metavar="NAME", help="fedavg, fedprox, fedmedian, fedtrimmedavg, krum, multikrum, bulyan.")
@click.option(
    "--option", "options", metavar="KEY=NUMBER", multiple=True, help="Option of the strategy, such as mu=0.01."
)
@click.option("--rounds", "rounds_", type=int, help="How many rounds.")
@click.option("--epochs", type=int, help="Passes over its examples that an agent makes a round.")
@click.option("--lr", type=float, help="Learning rate of the agents; the model's own when absent.")
@click.option("--batch-size", type=int, help="Rows a training step; the model's own when absent.")
@click.option("--quorum", type=float, help="Share of the selected agents whose replies are enough, 0 to 1.")
@click.option("--deadline", "deadline_s", type=float, metavar="SECONDS", help="Time agents have for one round.")
@click.option("--min-agents", type=int, help="A hub with fewer eligible agents sits the round out.")
@click.option("--min-regions", type=int, help="Regions that must contribute.")
@click.option("--heldout", metavar="NAME", help="Held-out sets to judge candidates on.")
@click.option("--no-judge", is_flag=True, help="Publish every candidate unjudged.")
@click.option("--baseline-local", is_flag=True, help="Also train every agent alone, to compare with.")
@click.option("--seed", type=int)
@click.option("--set", "extra", metavar="KEY=VALUE", multiple=True, help="Any other setting of a run, as YAML.")
@click.option("--watch", is_flag=True, help="Stay and show the run until it ends.")
@api_option
@json_option
def start(recipe_file: str | None, as_json: bool, api: str, watch: bool, **given: Any) -> int:
    """Start a run; settings given here change those of the recipe.

    \b
    Examples:
      nervure rounds start --recipe demo --model flows --watch
      nervure rounds start my-run.yaml --rounds 3
      nervure rounds start --model flows --strategy fedmedian --set join=equal --json
    """
    settings = settings_of(recipe_file, given)
    with Api(api) as client:
        run_id = client.post("/v1/rounds", settings)["run_id"]
        if not watch:
            emit({"run_id": run_id}, as_json=as_json, human=lambda data: f"started {data['run_id']}")
            return 0
        return _watch(client, run_id, as_json=as_json)


@rounds.command(name="list")
@api_option
@json_option
def list_(api: str, as_json: bool) -> None:
    """List all runs, the newest first.

    \b
    Example:
      nervure rounds list --json
    """
    with Api(api) as client:
        data = client.get("/v1/rounds")
    emit(data, as_json=as_json, human=_runs_text)


@rounds.command()
@click.argument("run_id")
@api_option
@json_option
def show(run_id: str, api: str, as_json: bool) -> None:
    """Show a run and each of its rounds.

    \b
    Example:
      nervure rounds show run-3f9a01c2d4
    """
    with Api(api) as client:
        data = client.get(_path(run_id))
    emit(data, as_json=as_json, human=_details_text)


@rounds.command()
@click.argument("run_id", required=False)
@api_option
@json_option
def watch(run_id: str | None, api: str, as_json: bool) -> int:
    """Follow a run (the newest by default) until it ends; exits with 1 when it failed.

    With --json each change is one line.

    \b
    Example:
      nervure rounds watch run-3f9a01c2d4
    """
    with Api(api) as client:
        if run_id is None:
            runs = client.get("/v1/rounds")["runs"]
            if not runs:
                raise ConfigurationError("no run to watch", hint="`nervure rounds start` starts one")
            run_id = str(runs[0]["run_id"])
        return _watch(client, run_id, as_json=as_json)


@rounds.command()
@json_option
def recipes(as_json: bool) -> None:
    """List the shipped recipes.

    \b
    Example:
      nervure rounds recipes
    """
    from nervure_federation.recipes import about, recipe_names

    data = [{"name": name, "about": about(name)} for name in recipe_names()]
    emit(data, as_json=as_json, human=lambda rows: "\n".join(f"{row['name']:<10} {row['about']}" for row in rows))


def settings_of(recipe_file: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a start request, checked here so that a mistake is named before a hub is asked.

    Raises:
        ConfigurationError: A setting is unknown or wrong.
        InputError: The recipe's file can't be read or is no recipe.
    """
    from nervure_federation.recipes import load_recipe, overlaid
    from nervure_federation.rounds.spec import parse_spec

    recipe = given["recipe"]
    if recipe_file and recipe:
        raise ConfigurationError(f"two recipes: the file {recipe_file} and the shipped {recipe}", hint="give one")
    base = load_recipe(recipe_file or recipe) if recipe_file or recipe else {}
    settings = overlaid(base, _changes(given))
    if "model" not in settings:
        raise ConfigurationError("no model was named", hint="give --model NAME; `nervure models list` shows them")
    return parse_spec(settings, where=recipe_file or recipe or "run").model_dump(mode="json")


def _changes(given: Mapping[str, Any]) -> dict[str, Any]:
    direct = ("model", "strategy", "epochs", "lr", "batch_size", "quorum", "deadline_s", "min_agents", "min_regions")
    changes = {name: given[name] for name in (*direct, "seed") if given[name] is not None}
    if given["rounds_"] is not None:
        changes["rounds"] = given["rounds_"]
    if given["baseline_local"]:
        changes["baseline_local"] = True
    if given["options"]:
        changes["options"] = _pairs(given["options"], "--option")
    if given["heldout"] is not None:
        changes["judge"] = {"heldout": given["heldout"]}
    changes.update(_pairs(given["extra"], "--set"))
    if given["no_judge"]:
        if given["heldout"] is not None:
            raise ConfigurationError("--heldout and --no-judge contradict each other", hint="give one of them")
        changes["judge"] = None
    return changes


def _pairs(texts: tuple[str, ...], flag: str) -> dict[str, Any]:
    import yaml

    pairs: dict[str, Any] = {}
    for text in texts:
        name, found, value = text.partition("=")
        if not found or not name:
            raise ConfigurationError(f"{flag} {text!r} is not KEY=VALUE")
        try:
            pairs[name.replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigurationError(f"{flag} {text!r}: the value is not YAML") from error
    return pairs


def _path(run_id: str) -> str:
    from urllib.parse import quote

    return f"/v1/rounds/{quote(run_id, safe='')}"


def _watch(client: Api, run_id: str, *, as_json: bool) -> int:
    from nervure_federation.commands.rounds_view import ENDED, Lines, Screen, changes_of

    view: Screen | Lines | None = None
    if not as_json:
        view = Screen() if sys.stdout.isatty() else Lines()
    before: dict[str, Any] = {}
    path = _path(run_id)
    try:
        while True:
            run = client.get(path)
            if view is not None:
                view.show(run)
            else:
                for change in changes_of(before, run):
                    click.echo(json.dumps(change))
            before = run
            if run["state"] in ENDED:
                return 0 if run["state"] == "finished" else 1
            time.sleep(POLL_S)
    finally:
        if view is not None:
            view.close()


def _runs_text(data: Mapping[str, Any]) -> str:
    from nervure_federation.commands.rounds_view import runs_text

    return runs_text(data["runs"])


def _details_text(data: Mapping[str, Any]) -> str:
    from nervure_federation.commands.rounds_view import details_text

    return details_text(data)
