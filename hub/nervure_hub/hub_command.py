"""``nervure hub``: run a regional hub, and see how one does.

The only place of the hub that reads the environment, catches signals and prints. Heavy imports wait until a subcommand
runs, so ``--help`` answers at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from nervure_core.command.output import emit, json_option

if TYPE_CHECKING:
    from nervure_hub.config import HubConfig

_API = "http://127.0.0.1:7444"
_QUESTION = 'nervure events query "SELECT label, count(*) FROM events GROUP BY label"'


@click.group()
def hub() -> None:
    """Run a regional hub.

    \b
    Examples:
      nervure hub up --region europe
      nervure hub status
    """


@hub.command()
@click.option("--config", "config_file", metavar="FILE", type=click.Path(path_type=Path), help="TOML file; flags win.")
@click.option("--region", metavar="NAME", help="The region this hub serves, such as europe.")
@click.option("--port", type=int, help="Where agents connect (gRPC); 0 takes a free port.  [7443]")
@click.option("--host", metavar="ADDRESS", help="Address for agents; other than loopback needs TLS files.  [127.0.0.1]")
@click.option("--api-port", type=int, help="Where the HTTP API answers; 0 takes a free port.  [7444]")
@click.option("--api-host", metavar="ADDRESS", help="Address of the API.  [127.0.0.1]")
@click.option("--advertise", metavar="HOST:PORT", help="What agents are told, when it is not host and port.")
@click.option("--gateways", type=int, help="Gateway processes that share the port.  [2]")
@click.option("--etcd", metavar="HOST:PORT", multiple=True, help="A member of etcd; hubs of one fleet share it.")
@click.option(
    "--objects", metavar="URL", help="Object store: file:///folder or s3://bucket; hubs of one fleet share it."
)
@click.option("--data", metavar="DIR", type=click.Path(path_type=Path), help="Journal and lake.  [nervure-data]")
@click.option("--hubs", metavar="HOST:PORT", multiple=True, help="Another hub that agents may turn to.")
@click.option("--ray-address", metavar="HOST:PORT", help="A running Ray cluster; none starts Ray on this machine.")
@click.option("--in-process", is_flag=True, default=None, help="One process, no Ray: starts in a second.")
@click.option("--clear", is_flag=True, default=None, help="Let other machines connect without TLS.")
@click.option("--tls-roots", metavar="PEM", type=click.Path(path_type=Path), help="Who may connect.")
@click.option("--tls-certificate", metavar="PEM", type=click.Path(path_type=Path))
@click.option("--tls-key", metavar="PEM", type=click.Path(path_type=Path))
@json_option
def up(config_file: Path | None, as_json: bool, **given: Any) -> None:
    """Run a hub until Ctrl-C or SIGTERM.

    Prints where agents connect as soon as it is ready; with --json that is one line. Every setting may also come from
    the environment (NERVURE_HUB__GATEWAY__HEARTBEAT_S=2) or the TOML file. Without --etcd the hub coordinates by itself.

    \b
    Examples:
      nervure hub up --region europe
      nervure hub up --region europe --in-process --data /tmp/hub
      nervure hub up --region asia --etcd 10.0.0.1:2379 --objects s3://fleet --port 7453 --api-port 7454
    """
    from nervure_hub.config import load_config

    flags = {name: value for name, value in given.items() if value is not None and value != ()}
    config = load_config(flags, file=config_file, environment=os.environ)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    # What Ray's and gRPC's libraries say of a part that went away, the hub says itself.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    asyncio.run(_serve(config, as_json=as_json))


@hub.command()
@click.option("--api", metavar="URL", envvar="NERVURE_API", default=_API, show_default=True, help="The hub's API.")
@json_option
def status(api: str, as_json: bool) -> None:
    """See how a hub does: its gateways, agents and events.

    \b
    Examples:
      nervure hub status
      nervure hub status --api http://127.0.0.1:7454 --json
    """
    from nervure_hub.hub_status import fetch_status, render_status

    emit(fetch_status(api), as_json=as_json, human=render_status)


class _Hub(Protocol):
    hub_id: str

    @property
    def address(self) -> str: ...

    @property
    def pids(self) -> tuple[int, ...]: ...

    api_url: str


async def _serve(config: HubConfig, *, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    serving = asyncio.current_task()

    def on_signal() -> None:
        if stop.is_set() and serving is not None:
            serving.cancel()  # the second time the user means now
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    if config.in_process:
        from nervure_hub.inprocess import InProcessHub

        running: Any = InProcessHub(config)
    else:
        if not config.ray_address:
            _keep_ray_private()
        from nervure_hub.supervisor import RayHub

        if not as_json:
            click.echo(f"starting hub {config.region} …", err=True)
        running = RayHub(config)
    try:
        async with running:
            click.echo(_ready_line(config, running) if as_json else _welcome(config, running))
            await stop.wait()
            if not as_json:
                click.echo(f"stopping: agents get up to {config.gateway.drain_s:g} s to move …", err=True)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    if not as_json:
        click.echo("stopped; everything acknowledged is in " + str(config.data.resolve()), err=True)


def _keep_ray_private() -> None:
    """Let only this hub's processes talk to the Ray that it starts; call before Ray is imported, which reads this.

    Ray listens on every interface whatever address it is told, so without a token it would take orders from the
    network. The token goes by the environment, which Ray's processes inherit, never by a command line.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _ready_line(config: HubConfig, running: _Hub) -> str:
    return json.dumps(
        {
            "event": "ready",
            "region": config.region,
            "hub_id": running.hub_id,
            "grpc": running.address,
            "api": running.api_url,
            "data": str(config.data.resolve()),
            "pids": list(running.pids),
        }
    )


def _welcome(config: HubConfig, running: _Hub) -> str:
    api = "" if running.api_url == _API else f" --api {running.api_url}"
    coordination = "etcd " + ", ".join(config.etcd) if config.etcd else "by itself (give --etcd to join other hubs)"
    return "\n".join(
        (
            f"hub {config.region} is up ({running.hub_id}, {config.gateways} gateways)",
            f"  agents connect to  {running.address}" + ("" if config.tls else "  (no TLS)"),
            f"  API                {running.api_url}  (described at {running.api_url}/docs)",
            f"  coordination       {coordination}",
            f"  data               {config.data.resolve()}",
            "next:",
            f"  nervure agent run --pcap FILE --hub {running.address}",
            f"  nervure devices{api}",
            f"  {_QUESTION}{api}",
            "Ctrl-C stops it.",
        )
    )
