"""Questions in SQL, answered by DuckDB over what the lake holds.

Rules
    1. Read-only by construction: an in-memory database whose only contents are the view ``events`` over Arrow data, no
       files, no network, no extensions, settings locked, one SELECT at a time.
    2. Bounded: rows, bytes, seconds, memory and threads; an answer that was cut says so.
    3. What is wrong with a statement is the asker's: ``InputError`` with DuckDB's own first line.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import duckdb

from nervure_core.errors import InputError
from nervure_hub.context import QueryResult
from nervure_hub.lake.rows import SCHEMA

_FETCH_ROWS = 64
"""Few at a time: rows may be wide, and what has been fetched is weighed between two fetches."""
_EXAMPLE = "SELECT label, count(*) FROM events GROUP BY label"


class BadQuery(InputError):
    """A statement that DuckDB does not take, that takes too long, or whose answer is too large."""

    code = "bad_query"


@dataclass(frozen=True, slots=True)
class QueryBounds:
    """What one question may cost."""

    rows: int = 10_000
    answer_mib: int = 32
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
        BadQuery: The statement is wrong, not a SELECT, or too slow, or one row alone is too large.
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
            rows, cut = _fetch(cursor, bounds)
        except duckdb.Error as error:
            if late.is_set():
                raise BadQuery(
                    f"the query took longer than {bounds.timeout_s:g} s", hint="narrow it, such as by day or agent"
                ) from error
            raise BadQuery(f"SQL: {_first_line(error)}", hint=_hint(error, names)) from error
        finally:
            timer.cancel()
    return QueryResult(tuple(str(item[0]) for item in described), rows, cut)


def _fetch(cursor: duckdb.DuckDBPyConnection, bounds: QueryBounds) -> tuple[list[tuple[Any, ...]], bool]:
    """Return the rows that are within bounds, and whether there are more."""
    rows: list[tuple[Any, ...]] = []
    left = bounds.answer_mib << 20
    while fetched := cursor.fetchmany(_FETCH_ROWS):
        for row in fetched:
            left -= _weight(row)
            if left < 0 and not rows:
                raise BadQuery(
                    f"one row of the answer is larger than {bounds.answer_mib} MiB",
                    hint="ask for less in a row, such as substr(detail, 1, 1000)",
                )
            if left < 0 or len(rows) == bounds.rows:
                return rows, True
            rows.append(row)
    return rows, False


def _weight(value: object) -> int:
    """Return about how many bytes a value has in an answer."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, (tuple, list)):
        return sum(map(_weight, cast("Sequence[object]", value)))
    if isinstance(value, dict):
        return sum(_weight(key) + _weight(item) for key, item in cast("dict[object, object]", value).items())
    return 8


def _check_statement(database: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        statements = database.extract_statements(sql)
    except duckdb.Error as error:
        raise BadQuery(f"SQL: {_first_line(error)}", hint=f"DuckDB's SQL is understood: {_EXAMPLE}") from error
    if len(statements) != 1 or statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise BadQuery(
            f"SQL: one SELECT is answered, not {len(statements)} statements"
            if len(statements) != 1
            else f"SQL: {statements[0].type.name} is not answered, the lake is read-only",
            hint=_EXAMPLE,
        )


def _hint(error: duckdb.Error, names: str) -> str:
    if isinstance(error, duckdb.PermissionException):
        return "questions see the table events only: no files, no network"
    if isinstance(error, duckdb.OutOfMemoryException):
        return "narrow it, such as by day or agent, or give the hub a larger lake.query_memory_mib"
    return f"events has the columns {names}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
