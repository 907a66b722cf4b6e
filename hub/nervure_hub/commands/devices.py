"""``nervure devices``: which agents are here, and what they run and report."""

from __future__ import annotations

import time
from typing import Any

import click

from nervure_core.command.output import emit, json_option
from nervure_hub.commands.client import Api, api_option


class _ListByDefault(click.Group):
    """A group whose ``list`` may be left out: ``nervure devices --json``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ListByDefault)
def devices() -> None:
    """See which devices are here and what they run.

    Without a subcommand: the same as `list`, with its options.

    \b
    Examples:
      nervure devices
      nervure devices list --state live --label site=hall-3
      nervure devices show camera-hall-3 --json
    """


@devices.command(name="list")
@click.option("--state", type=click.Choice(["live", "gone", "all"]), default="all", show_default=True)
@click.option("--workload", metavar="NAME", help="Only agents of this workload.")
@click.option("--label", "labels", metavar="KEY=VALUE", multiple=True, help="Only agents with this label.")
@api_option
@json_option
def list_(api: str, as_json: bool, state: str, workload: str | None, labels: tuple[str, ...]) -> None:
    """List the agents that a hub has seen since it started.

    \b
    Examples:
      nervure devices list --state live
      nervure devices list --api http://hub.asia:7444 --json
    """
    query: dict[str, Any] = {"state": state, "label": list(labels)}
    if workload:
        query["workload"] = workload
    with Api(api) as client:
        data = client.get("/v1/devices", query)
    emit(data, as_json=as_json, human=_table)


@devices.command()
@click.argument("device")
@api_option
@json_option
def show(device: str, api: str, as_json: bool) -> None:
    """Show one agent with its last report.

    \b
    Example:
      nervure devices show camera-hall-3
    """
    from urllib.parse import quote

    with Api(api) as client:
        data = client.get(f"/v1/devices/{quote(device, safe='')}")
    emit(data, as_json=as_json, human=_one)


def _table(data: dict[str, Any]) -> str:
    from nervure_hub.commands.tables import table

    rows = [_row(device, time.time()) for device in data["devices"]]
    if not rows:
        return "no devices yet: start one with `nervure agent run --hub HOST:PORT`"
    return table(
        ("DEVICE", "REGION", "STATE", "WORKLOAD", "MODEL", "DECISIONS", "EVENTS", "LOST", "P50 µs", "P99 µs", "SEEN"),
        rows,
        numbers=("DECISIONS", "EVENTS", "LOST", "P50 µs", "P99 µs", "SEEN"),
    )


def _row(device: dict[str, Any], now_s: float) -> tuple[Any, ...]:
    status = device["status"] or {}
    latency = status.get("latency", {})
    return (
        device["agent_id"],
        _region(device),
        device["state"],
        device["workload"],
        _model(device["running"]),
        status.get("decisions"),
        f"{status['events_acknowledged']}/{status['events_produced']}" if status else None,
        status.get("events_lost"),
        latency.get("p50_us"),
        latency.get("p99_us"),
        f"{max(now_s - device['last_seen_s'], 0.0):.0f} s ago",
    )


def _region(device: dict[str, Any]) -> str:
    home, here = device["home_region"], device["region"]
    return here if home == here else f"{home} → {here}"


def _model(running: dict[str, Any]) -> str:
    return f"{running['name']}/{running['release']}" if running["name"] else "-"


def _one(device: dict[str, Any]) -> str:
    from nervure_hub.commands.tables import moment, pairs, size

    status = device["status"] or {}
    latency = status.get("latency", {})
    rows: list[tuple[str, Any]] = [
        ("device", device["agent_id"]),
        ("state", device["state"]),
        ("region", _region(device)),
        ("hub", f"{device['hub_id']} ({device['gateway']}, session {device['session_id']})"),
        ("labels", ", ".join(f"{name}={value}" for name, value in sorted(device["labels"].items())) or "-"),
        ("workload", f"{device['workload']} {status.get('workload_state', '')}".strip()),
        ("model", f"{_model(device['running'])} {device['running']['bundle_id'][:12]}".strip()),
        ("trains", f"yes, {device['examples']} examples" if device["can_train"] else "no"),
        ("connected", f"{moment(device['connected_at_s'])} UTC"),
        ("last seen", f"{moment(device['last_seen_s'])} UTC"),
    ]
    if status:
        rows += [
            ("decisions", f"{status['decisions']} (errors {status['errors']}, blocked {status['blocks']})"),
            ("latency", f"p50 {latency['p50_us']:g} µs, p99 {latency['p99_us']:g} µs"),
            ("events", f"{status['events_acknowledged']} of {status['events_produced']} acknowledged"),
            ("lost", status["events_lost"]),
            ("spool", size(status["spool_bytes"])),
            ("memory", f"{status['rss_mib']:g} MiB"),
            ("uptime", f"{status['uptime_s']:g} s"),
        ]
    return pairs(rows)
