"""The command `nervure range`: make labelled sites on this machine."""

from pathlib import Path
from typing import Any

import click

from nervure_core.command.output import emit, json_option


@click.group("range", short_help="Make labelled traffic in network namespaces.")
def range_command() -> None:
    """Make labelled network traffic with real tools, in network namespaces that nothing leaves.

    \b
    Examples:
      sudo nervure range build --out out/range --sites 3 --seconds 30
      sudo nervure range build --out out/range
      nervure range convert out/range/captures --out out/again
    """


@range_command.command("build", short_help="Run sites and turn their captures into flow tables.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the tables.")
@click.option(
    "--sites", type=int, default=30, show_default=True, help="Number of sites, shared out over three regions."
)
@click.option("--seed", type=int, default=7, show_default=True, help="The plan follows from it.")
@click.option("--seconds", type=float, default=75.0, show_default=True, help="Length of each capture.")
@click.option("--at-once", type=click.IntRange(1, 16), default=4, show_default=True, help="Sites run side by side.")
@click.option("--keep-captures", is_flag=True, help="Leave the pcap files and truths in OUT/captures.")
@click.option("--dry-run", is_flag=True, help="Print the plan and run nothing (needs neither Linux nor root).")
@json_option
def build(
    out: Path, sites: int, seed: int, seconds: float, at_once: int, keep_captures: bool, dry_run: bool, as_json: bool
) -> None:
    """Run sites in network namespaces, capture them, and write labelled flow tables and an index to OUT.

    Needs Linux, root, and Debian's iproute2 tcpdump nmap hydra hping3 dnsmasq mosquitto mosquitto-clients
    openssh-server openssh-client vsftpd curl openssl. Takes about SITES / AT-ONCE times SECONDS.

    \b
    Examples:
      sudo nervure range build --out out/range --sites 3 --seconds 30 --keep-captures
      nervure range build --out unused --dry-run --json
    """
    # Loaded only when it runs: the list of commands must stay quick.
    from nervure_simulations.ranges.build import build_range, describe_plan

    if dry_run:
        rows = describe_plan(seed=seed, sites=sites, seconds=seconds)
    else:

        def tell(line: str) -> None:
            click.echo(line, err=True)

        rows = build_range(
            out, seed=seed, sites=sites, seconds=seconds, at_once=at_once, keep_captures=keep_captures, tell=tell
        )
    emit(rows, as_json=as_json, human=_table)


@range_command.command("convert", short_help="Turn kept captures into flow tables again.")
@click.argument("captures", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the tables.")
@click.option(
    "--references",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder with the captures from elsewhere (range/*.pcap, attack/*.zeek.pcap) to add as reference sites.",
)
@json_option
def convert(captures: Path, out: Path, references: Path | None, as_json: bool) -> None:
    """Measure and label CAPTURES (`<site>.pcap` with `<site>.truth.json` beside it) and write tables and an index to OUT.

    \b
    Examples:
      nervure range convert out/range/captures --out out/again
    """
    from nervure_simulations.ranges.build import convert_captures

    emit(convert_captures(captures, out, references=references), as_json=as_json, human=_table)


def _table(rows: list[dict[str, Any]]) -> str:
    return "\n".join(
        f"{row['site']:<16}{row['profile']:<11}{row['flows']:>6} flows  {', '.join(row['attacks'])}" for row in rows
    )
