"""``nervure sites``: the shipped sites for those who walk the loop by hand: traffic for agents, a starting model, held-out sets.

Importing this module costs little; what a subcommand needs it imports itself.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nervure_core.command.output import emit, json_option
from nervure_core.errors import ConfigurationError, InputError, WorldError

if TYPE_CHECKING:
    from nervure_simulations.sites import Site

SCENARIO = "three-regions"
"""The starting model made here is that of this scenario, but for its name."""


@click.group()
def sites() -> None:
    """Use the shipped sites by hand: traffic for agents, a starting model, and held-out sets.

    A site is a place with devices of its own and labelled traffic, split by time: its agent may see the first part, and
    what comes after is held out for the judge.

    \b
    Examples:
      nervure sites list
      nervure sites export europe-01 --out europe-01.csv.gz
      nervure sites model --out out/model
      nervure sites heldout --out out/heldout
    """


@sites.command(name="list")
@json_option
def list_(as_json: bool) -> None:
    """List the sites: how many flows, which attacks, which devices.

    \b
    Example:
      nervure sites list --json
    """
    from nervure_simulations.sites import load_sites

    rows = [
        {
            "site": site.name,
            "region": site.region,
            "flows": site.rows,
            "agent_flows": site.train_rows,
            "held_out_flows": site.rows - site.train_rows,
            "attacks": list(site.attacks),
            "devices": list(site.devices),
            "profile": site.profile,
        }
        for site in load_sites()
    ]
    emit(rows, as_json=as_json, human=_table)


@sites.command(short_help="Write what a site's agent may see.")
@click.argument("site", required=False)
@click.option("--all", "every", is_flag=True, help="All sites; OUT is then a folder that gets SITE.csv.gz of each.")
@click.option("--out", metavar="FILE|DIR", required=True, type=click.Path(path_type=Path), help="Flow table to write.")
@json_option
def export(site: str | None, *, every: bool, out: Path, as_json: bool) -> None:
    """Write what a site's agent may see to a flow table, for `nervure agent run --records FILE`.

    What is held out is not in it. The table is packed by gzip where its name ends in .gz.

    \b
    Examples:
      nervure sites export europe-01 --out europe-01.csv.gz
      nervure sites export --all --out out/sites
    """
    from nervure_simulations.sites import load_sites

    if every == (site is not None):
        raise ConfigurationError(
            "SITE and --all contradict each other" if every else "no site is given",
            hint="give the name of one site, or --all",
        )
    known = load_sites()
    if site is None:
        targets = [(one, out / f"{one.name}.csv.gz") for one in known]
    else:
        if out.is_dir():
            raise ConfigurationError(f"--out {out}: is a folder", hint=f"give a file, such as {out / site}.csv.gz")
        targets = [(_named(site, known), out)]
    _make_folder(targets[0][1].parent)
    rows = [{"site": one.name, "file": str(path), "flows": one.write_learning_table(path)} for one, path in targets]
    emit(rows, as_json=as_json, human=_written)


@sites.command(short_help="Make the starting model.")
@click.option("--out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="New folder for the bundle.")
@click.option("--name", default="flows", show_default=True, help="Name of the model family.")
@json_option
def model(out: Path, name: str, as_json: bool) -> None:
    """Make the model that a fleet begins with: modest, from a few flows of one region's sites, to be improved by rounds.

    It is the model of `nervure simulate three-regions`. Its bundle has a training graph, so that agents can train it.

    \b
    Examples:
      nervure sites model --out out/model
      nervure models push out/model --deploy
    """
    from nervure_core.ids import check_name
    from nervure_simulations.scenarios import load_scenario
    from nervure_simulations.sites import load_sites, training_arrays
    from nervure_simulations.sites.starting import starting_model, starting_sample

    check_name("model", name)
    if out.exists():
        raise InputError(f"--out {out}: is there already", hint="give a new folder; a bundle is never changed in place")
    scenario = load_scenario(SCENARIO)
    learning = scenario.learning.model_copy(update={"model": name})
    examples = {region: list(found.values()) for region, found in training_arrays(load_sites()).items()}
    region, sample = starting_sample(examples, learning.starting_flows)
    _make_folder(out.parent)
    bundle = starting_model(out, sample, region, learning, seed=scenario.seed)
    data = {
        "folder": str(out),
        "name": name,
        "bundle_id": bundle.bundle_id,
        "flows": len(sample[1]),
        "region": region,
    }
    emit(data, as_json=as_json, human=_made)


@sites.command(short_help="Write what no agent sees, for the judge.")
@click.option("--out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Gets REGION/SITE.npz.")
@json_option
def heldout(out: Path, as_json: bool) -> None:
    """Write what no agent sees as DIR/REGION/SITE.npz, for `nervure rounds heldout push NAME DIR`.

    Each file has x, float32 [n, F] (features of schema flow.v1), and y, int64 [n] (0 benign, 1 attack).

    \b
    Examples:
      nervure sites heldout --out out/heldout
      nervure rounds heldout push demo out/heldout
    """
    from nervure_core.files import write_atomic
    from nervure_federation.heldout import pack_heldout
    from nervure_simulations.sites import heldout_arrays, load_sites

    rows: list[dict[str, Any]] = []
    for region, found in heldout_arrays(load_sites()).items():
        _make_folder(out / region)
        for site, (x, y) in found.items():
            path = out / region / f"{site}.npz"
            try:
                write_atomic(path, pack_heldout(x, y))
            except OSError as error:
                raise WorldError(f"{path}: {error.strerror}", hint="give a folder that may be written") from error
            rows.append({"site": site, "region": region, "file": str(path), "flows": len(y), "attacks": int(y.sum())})
    emit(rows, as_json=as_json, human=lambda rows: _held_out(rows, out))


def _named(name: str, known: list[Site]) -> Site:
    found = next((site for site in known if site.name == name), None)
    if found is None:
        close = [site.name for site in known if site.region == name or name in site.name]
        hint = f"such as {', '.join(close[:3])}; " if close else ""
        raise InputError(f"there is no site named {name!r}", hint=f"{hint}`nervure sites list` shows all")
    return found


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorldError(f"{folder}: {error.strerror}", hint="give a folder that may be written") from error


def _table(rows: list[dict[str, Any]]) -> str:
    from nervure_hub.commands.tables import table

    return table(
        ("SITE", "REGION", "FLOWS", "ATTACKS", "DEVICES"),
        [
            (row["site"], row["region"], row["flows"], ", ".join(row["attacks"]), _counted(row["devices"]))
            for row in rows
        ],
        numbers=("FLOWS",),
    )


def _counted(devices: list[str]) -> str:
    return ", ".join(name if count == 1 else f"{name} ×{count}" for name, count in Counter(devices).items())


def _written(rows: list[dict[str, Any]]) -> str:
    if len(rows) > 1:
        return (
            f"wrote {sum(row['flows'] for row in rows):,} flows of {len(rows)} sites to {Path(rows[0]['file']).parent}"
        )
    return f"wrote {rows[0]['flows']:,} flows of {rows[0]['site']} to {rows[0]['file']}"


def _made(data: dict[str, Any]) -> str:
    return (
        f"made {data['name']} ({data['bundle_id'][:12]}) from {data['flows']} flows of {data['region']} in {data['folder']}\n"
        f"nervure models push {data['folder']} --deploy gives it to agents"
    )


def _held_out(rows: list[dict[str, Any]], out: Path) -> str:
    flows, attacks = (sum(row[key] for row in rows) for key in ("flows", "attacks"))
    return (
        f"wrote {flows:,} flows ({attacks:,} of them attacks) of {len(rows)} sites to {out}\n"
        f"nervure rounds heldout push NAME {out} gives them to the judge"
    )
