"""The Delta table of one hub: zstd Parquet under a transaction log, appended to exactly once.

Rules: every commit carries (journal id, sequence) as a Delta application transaction, so a commit that is repeated after
a crash is recognised; the table appears with its first rows; any engine that reads Delta reads it (Spark, Trino, Ray
Data), and nothing of ours is needed for that.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError

from nervure_core.errors import WorldError
from nervure_hub.lake.rows import PARTITIONS, SCHEMA

_ISLANDS = """
    SELECT agent, stream, min(seq), max(seq) + 1 FROM (
        SELECT agent, stream, seq, seq - row_number() OVER (PARTITION BY agent, stream ORDER BY seq) AS island FROM stored
    ) GROUP BY agent, stream, island
"""
_WRITER = WriterProperties(compression="ZSTD", compression_level=3)


class RowTable(Protocol):
    """A table that is appended to exactly once: the seam to Delta Lake."""

    def taken_up_to(self, journal_id: str) -> int:
        """Return the journal sequence below which everything is in the table; 0 for an unknown journal."""
        ...

    def append(self, rows: list[Any], journal_id: str, up_to: int) -> None:
        """Add tables of rows in one commit that says: this journal is taken up to here."""
        ...

    def dataset(self) -> Any:
        """Return what DuckDB scans."""
        ...

    def ranges(self, threads: int) -> Iterable[tuple[str, str, int, int]]:
        """Return (agent, stream, first, end) of every run of sequences that is here."""
        ...


class EventTable:
    """The table in one folder.

    Args:
        folder: Made with the first rows.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._table: DeltaTable | None = None

    def taken_up_to(self, journal_id: str) -> int:
        """Return the journal sequence below which everything is in the table.

        Raises:
            WorldError: The table can't be read.
        """
        table = self._open()
        return (table.transaction_version(journal_id) or 0) if table is not None else 0

    def append(self, rows: list[Any], journal_id: str, up_to: int) -> None:
        """Add tables of rows in one commit that says: this journal is taken up to here.

        Raises:
            WorldError: The table can't be written; nothing was added.
        """
        table = self._open()
        try:
            write_deltalake(
                table if table is not None else str(self._folder),
                pa.concat_tables(rows),
                mode="append",
                partition_by=PARTITIONS,
                writer_properties=_WRITER,
                commit_properties=CommitProperties(app_transactions=[Transaction(journal_id, up_to)]),
            )
        except (DeltaError, OSError) as error:
            raise WorldError(
                f"{self._folder}: can't add to the lake: {_first_line(error)}", hint="check the disk"
            ) from error

    def dataset(self) -> Any:
        """Return what DuckDB scans: a ``pyarrow`` dataset, or an empty table before the first rows.

        Raises:
            WorldError: The table can't be read.
        """
        table = self._open()
        return table.to_pyarrow_dataset() if table is not None else SCHEMA.empty_table()

    def ranges(self, threads: int) -> list[tuple[str, str, int, int]]:
        """Return (agent, stream, first, end) of every run of sequences that is here.

        Raises:
            WorldError: The table can't be read.
        """
        with duckdb.connect(config={"threads": str(threads)}) as database:
            database.register("stored", self.dataset())
            return database.execute(_ISLANDS).fetchall()

    def _open(self) -> DeltaTable | None:
        try:
            if self._table is None:
                if not DeltaTable.is_deltatable(str(self._folder)):
                    return None
                self._table = DeltaTable(str(self._folder))
            else:
                self._table.update_incremental()
        except (DeltaError, OSError) as error:
            raise WorldError(
                f"{self._folder}: can't read the lake: {_first_line(error)}", hint="check the folder"
            ) from error
        return self._table


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
