"""``nervure events``: ask, follow and export what agents found."""

from __future__ import annotations

import csv
import io
import json
import sys
import time
from typing import Any

import click

from nervure_core.command.output import emit, json_option
from nervure_core.errors import ConfigurationError
from nervure_hub.commands.client import Api, api_option
from nervure_hub.commands.tail import Tail

_COLUMNS = """
\b
Columns of the table `events`:
  time_us, workload, subject, label, score, action, model, release, latency_us, detail   (from the agent)
  region, agent, stream, seq, kind, hub_time_us                                          (from the hub)
"""


@click.group(epilog=_COLUMNS)
def events() -> None:
    """Ask, follow and export what agents found.

    \b
    Examples:
      nervure events query "SELECT label, count(*) AS n FROM events GROUP BY label ORDER BY n DESC"
      nervure events query "SELECT * FROM events LIMIT 1000" --csv > events.csv
      nervure events tail --where "kind = 'finding'"
    """


@events.command(epilog=_COLUMNS, short_help="Answer one SELECT over the table `events`.")
@click.argument("sql")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@api_option
@json_option
def query(sql: str, as_csv: bool, api: str, as_json: bool) -> None:
    """Answer one SELECT (DuckDB's SQL) over the table `events`; `-` reads it from standard input.

    \b
    Examples:
      nervure events query "SELECT agent, count(*) FROM events WHERE kind = 'finding' GROUP BY agent"
      nervure events query "SELECT * FROM events ORDER BY time_us DESC LIMIT 20" --json
      nervure events query - --csv < question.sql > answer.csv
    """
    if as_csv and as_json:
        raise ConfigurationError("--csv and --json contradict each other", hint="give one of them")
    text = sys.stdin.read() if sql == "-" else sql
    with Api(api) as client:
        answer = client.post("/v1/events/query", {"sql": text})
    if as_csv:
        click.echo(_csv(answer), nl=False)
        if answer["truncated"]:
            click.echo(f"only the first {len(answer['rows'])} rows: ask for less with WHERE or LIMIT", err=True)
        return
    emit(answer, as_json=as_json, human=_table)


@events.command(epilog=_COLUMNS, short_help="Print events as they come.")
@click.option("--where", metavar="SQL", default="", help="Condition over the columns of `events`.")
@click.option("--last", type=click.IntRange(0, 1000), default=10, show_default=True, help="Begin so many events back.")
@click.option("--limit", type=click.IntRange(1), help="End after so many events.")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.05, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to ask.",
)
@api_option
@json_option
def tail(where: str, last: int, limit: int | None, interval_s: float, api: str, as_json: bool) -> None:
    """Print events as they come, until interrupted; with --json one JSON document a line.

    \b
    Examples:
      nervure events tail
      nervure events tail --where "kind = 'finding' AND score > 0.9" --json
    """
    printed = 0
    with Api(api) as client:
        follower = Tail(lambda sql: client.post("/v1/events/query", {"sql": sql}), where)
        found = follower.start(last)
        while True:
            for event in found[: None if limit is None else limit - printed]:
                click.echo(json.dumps(event, ensure_ascii=False) if as_json else _line(event))
                printed += 1
            if limit is not None and printed >= limit:
                return
            sys.stdout.flush()
            time.sleep(interval_s)
            found = follower.more()


def _table(answer: dict[str, Any]) -> str:
    from nervure_hub.commands.tables import table

    rows = answer["rows"]
    numbers = [
        column
        for index, column in enumerate(answer["columns"])
        if rows and all(isinstance(row[index], int | float) or row[index] is None for row in rows)
    ]
    count = f"{len(rows)} row{'' if len(rows) == 1 else 's'} in {answer['elapsed_ms']:.0f} ms"
    cut = "; there are more: ask for less with WHERE or LIMIT" if answer["truncated"] else ""
    return f"{table(answer['columns'], rows, numbers=numbers)}\n{count}{cut}"


def _csv(answer: dict[str, Any]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(answer["columns"])
    writer.writerows(answer["rows"])
    return file.getvalue()


def _line(event: dict[str, Any]) -> str:
    from nervure_hub.commands.tables import moment, printable

    when = moment(event["time_us"] / 1e6)
    score = "" if event["score"] is None else f"{event['score']:.3f}"
    action = "" if event["action"] in ("", "none", None) else f" [{event['action']}]"
    return printable(
        f"{when}  {event['region']}/{event['agent']}  {event['kind']:<7}  {event['label']:<12} {score:>5}"
        f"  {event['subject']}{action}  {event['model']}/{event['release']}"
    )
