"""Questions in SQL, answered by DuckDB over what the lake holds.

Rules
    1. Read-only by construction: an in-memory database whose only contents are the view ``events`` over Arrow data, no
       files, no network, no extensions, settings locked, one SELECT at a time.
    2. Bounded: rows, seconds, memory and threads; an answer that was cut says so.
    3. What is wrong with a statement is the asker's: ``InputError`` with DuckDB's own first line.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import duckdb

from nervure_core.errors import InputError
from nervure_hub.context import QueryResult
from nervure_hub.lake.rows import SCHEMA


class BadQuery(InputError):
    """A statement that DuckDB does not take, or that takes too long."""

    code = "bad_query"


@dataclass(frozen=True, slots=True)
class QueryBounds:
    """What one question may cost."""

    rows: int = 10_000
    timeout_s: float = 30.0
    memory_mib: int = 512
    threads: int = 2


def run_query(sql: str, stored: Any, fresh: Any, bounds: QueryBounds) -> QueryResult:
    """Answer ``sql`` over the view ``events``. Blocks.

    Args:
        sql: One SELECT.
        stored: Compacted rows: a ``pyarrow`` dataset or table.
        fresh: Rows not compacted yet: a ``pyarrow`` table of the same columns.
        bounds: What it may cost.

    Raises:
        BadQuery: The statement is wrong, not a SELECT, or too slow.
    """
    with duckdb.connect(
        config={
            "enable_external_access": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",  # else names in a statement reach variables of this process
            "memory_limit": f"{bounds.memory_mib}MiB",
            "threads": str(bounds.threads),
        }
    ) as database:
        database.register("stored_events", stored)
        database.register("fresh_events", fresh)
        names = ", ".join(SCHEMA.names)
        database.execute(
            f"CREATE VIEW events AS SELECT {names} FROM stored_events UNION ALL SELECT {names} FROM fresh_events"  # noqa: S608 - our own column names
        )
        database.execute("SET lock_configuration = true")
        _check_statement(database, sql)
        late = threading.Event()

        def give_up() -> None:
            late.set()
            database.interrupt()

        timer = threading.Timer(bounds.timeout_s, give_up)
        timer.start()
        try:
            cursor = database.execute(sql)
            described = cursor.description or []
            rows = cursor.fetchmany(bounds.rows + 1)
        except duckdb.Error as error:
            if late.is_set():
                raise BadQuery(
                    f"the query took longer than {bounds.timeout_s:g} s", hint="narrow it, such as by day or agent"
                ) from error
            raise BadQuery(f"SQL: {_first_line(error)}", hint=f"events has the columns {names}") from error
        finally:
            timer.cancel()
    return QueryResult(tuple(str(item[0]) for item in described), rows[: bounds.rows], len(rows) > bounds.rows)


def _check_statement(database: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        statements = database.extract_statements(sql)
    except duckdb.Error as error:
        raise BadQuery(f"SQL: {_first_line(error)}") from error
    if len(statements) != 1 or statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise BadQuery(
            f"SQL: one SELECT is answered, not {len(statements)} statements"
            if len(statements) != 1
            else f"SQL: {statements[0].type.name} is not answered, the lake is read-only",
            hint="SELECT label, count(*) FROM events GROUP BY label",
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
