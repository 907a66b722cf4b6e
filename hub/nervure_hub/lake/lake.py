"""The event lake: journals in, answers out, every event once.

Rules
    1. The journal is the truth until its records are committed to the table; only then are its segments given away.
    2. An event is named by (agent, stream, sequence). What is here already (from another gateway, or sent again after a
       lost acknowledgement) is dropped on the way in and counted; what is asked is therefore always distinct.
    3. Rows that are pulled but not committed are answered from memory, so a question sees everything that was
       acknowledged before it was asked.
    4. One lake object owns the table; its blocking work runs in threads, one step at a time.
    5. A journal that can't be reached (its gateway is being restarted) is skipped and tried again.

>>> lake = Lake(Path("data/lake"), LakeConfig())
>>> lake.add_source(gateway)
>>> (await lake.query("SELECT count(*) FROM events")).rows
[(3,)]
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from nervure_core.clock import Clock, SystemClock
from nervure_core.errors import NervureError
from nervure_core.events import BadPayload
from nervure_hub.config import LakeConfig
from nervure_hub.context import QueryResult
from nervure_hub.gateway.journal import JournalRecord
from nervure_hub.gateway.links import JournalSource
from nervure_hub.gateway.records import BadRecord, StoredBatch, decode_record
from nervure_hub.lake.query import QueryBounds, run_query
from nervure_hub.lake.ranges import SeqRanges
from nervure_hub.lake.rows import SCHEMA, rows_of
from nervure_hub.lake.table import EventTable, RowTable

_log = logging.getLogger(__name__)
_NOWHERE = 1 << 62


@dataclass(frozen=True, slots=True)
class LakeStats:
    """Counters since the lake was opened; ``rows`` counts all that can be asked for."""

    rows: int = 0
    pending_rows: int = 0
    """Of ``rows``, those not yet in the table."""
    duplicates_dropped: int = 0
    undecodable: int = 0
    """Batches that could not be opened."""
    lost_reported: int = 0
    commits: int = 0

    def counters(self) -> dict[str, float]:
        """Return the counters by metric name."""
        return {name: float(getattr(self, name)) for name in self.__dataclass_fields__}


@dataclass(slots=True)
class _Inlet:
    source: JournalSource
    journal_id: str = ""
    next_seq: int = 0
    tables: list[Any] = field(default_factory=list[Any])
    pending_bytes: int = 0
    committed_seq: int = 0
    dropped_seq: int = 0
    """Up to where the journal was told to give its segments away."""


class Lake:
    """The lake of one hub.

    Args:
        folder: The Delta table's.
        config: Bounds.
        clock: Paces ``run``.
        table: Where rows are kept; the Delta table in ``folder`` by default.
    """

    def __init__(
        self, folder: Path, config: LakeConfig, *, clock: Clock | None = None, table: RowTable | None = None
    ) -> None:
        self._table: RowTable = table if table is not None else EventTable(folder)
        self._config = config
        self._clock = clock if clock is not None else SystemClock()
        self._inlets: dict[str, _Inlet] = {}
        self._seen: dict[tuple[str, str], SeqRanges] | None = None
        self._step = asyncio.Lock()
        self._rows = 0
        self._duplicates = 0
        self._undecodable = 0
        self._lost = 0
        self._commits = 0

    def __repr__(self) -> str:
        return f"<Lake {self._rows} rows, {len(self._inlets)} journals>"

    def add_source(self, source: JournalSource) -> None:
        """Take a journal from now on."""
        self._inlets[source.name] = _Inlet(source)

    async def run(self) -> None:
        """Compact for ever."""
        while True:
            await self._clock.sleep(self._config.compact_interval_s)
            try:
                await self.compact()
            except NervureError as error:
                _log.warning("compaction: %s", error.message)

    async def compact(self) -> LakeStats:
        """Move everything durable from the journals into the table.

        Raises:
            WorldError: The table can't be written; what was pulled stays pending.
        """
        async with self._step:
            await self._pull_all()
            for inlet in self._inlets.values():
                await self._commit(inlet)
        return self.stats()

    async def query(self, sql: str, *, max_rows: int | None = None) -> QueryResult:
        """Answer one SELECT over ``events``.

        Raises:
            BadQuery: The statement is wrong or too slow.
            WorldError: The table can't be read.
        """
        config = self._config
        rows = min(max_rows, config.query_rows) if max_rows is not None else config.query_rows
        bounds = QueryBounds(
            rows=rows,
            answer_mib=config.query_answer_mib,
            timeout_s=config.query_timeout_s,
            memory_mib=config.query_memory_mib,
            threads=config.query_threads,
        )
        stored, fresh = await self.snapshot()
        return await asyncio.to_thread(run_query, sql, stored, fresh, bounds)

    async def snapshot(self) -> tuple[Any, Any]:
        """Return the compacted rows (dataset or table) and those that are not (table), distinct together.

        Raises:
            WorldError: The table can't be read.
        """
        async with self._step:
            await self._pull_all()
            stored = await asyncio.to_thread(self._table.dataset)
            tables = [table for inlet in self._inlets.values() for table in inlet.tables]
            return stored, pa.concat_tables(tables) if tables else SCHEMA.empty_table()

    async def refresh(self) -> LakeStats:
        """Pull what is new and return the counters."""
        async with self._step:
            await self._pull_all()
        return self.stats()

    async def counters(self) -> dict[str, float]:
        """Pull what is new and return the counters by metric name."""
        return (await self.refresh()).counters()

    def stats(self) -> LakeStats:
        """Return the counters."""
        pending = sum(table.num_rows for inlet in self._inlets.values() for table in inlet.tables)
        return LakeStats(self._rows, pending, self._duplicates, self._undecodable, self._lost, self._commits)

    async def _pull_all(self) -> None:
        if self._seen is None:
            self._seen = await asyncio.to_thread(self._read_ranges)
            self._rows = sum(len(ranges) for ranges in self._seen.values())
        for inlet in self._inlets.values():
            try:
                while await self._pull(inlet):
                    pass
            except NervureError as error:
                _log.info("journal of %s is not there now: %s", inlet.source.name, error.message)

    async def _pull(self, inlet: _Inlet) -> bool:
        """Take the next slice of a journal; return True when there is more."""
        config = self._config
        if inlet.pending_bytes >= config.compact_bytes:
            await self._commit(inlet)
        found = await inlet.source.read_journal(inlet.next_seq if inlet.journal_id else _NOWHERE, config.compact_bytes)
        if found.journal_id != inlet.journal_id:
            # The first reading only tells which journal it is; so does one after the folder was wiped.
            inlet.journal_id = found.journal_id
            inlet.next_seq = inlet.committed_seq = await asyncio.to_thread(self._table.taken_up_to, found.journal_id)
            inlet.dropped_seq = 0
            return True
        inlet.tables += await asyncio.to_thread(self._open_records, found.records)
        inlet.pending_bytes += sum(len(record.payload) for record in found.records)
        inlet.next_seq = found.next_seq
        return found.more

    async def _commit(self, inlet: _Inlet) -> None:
        if inlet.next_seq != inlet.committed_seq:
            if inlet.tables:
                await asyncio.to_thread(self._table.append, inlet.tables, inlet.journal_id, inlet.next_seq)
                self._commits += 1
            inlet.tables, inlet.pending_bytes, inlet.committed_seq = [], 0, inlet.next_seq
        if inlet.dropped_seq == inlet.committed_seq:
            return
        # Tried again until it works: a journal that is full takes nothing new that could be the next occasion.
        try:
            await inlet.source.drop_journal(inlet.committed_seq)
            inlet.dropped_seq = inlet.committed_seq
        except NervureError as error:
            _log.info("journal of %s keeps its segments for now: %s", inlet.source.name, error.message)

    def _open_records(self, records: tuple[JournalRecord, ...]) -> list[Any]:
        tables: list[Any] = []
        for record in records:
            try:
                entry = decode_record(record.klass, record.payload)
                if isinstance(entry, StoredBatch):
                    tables += self._new_rows(entry)
                else:
                    self._lost += entry.lost.to_seq - entry.lost.from_seq
            except (BadRecord, BadPayload) as error:
                self._undecodable += 1
                _log.warning("record %d skipped: %s", record.seq, error.message)
        return tables

    def _new_rows(self, entry: StoredBatch) -> list[Any]:
        batch = entry.batch
        # Opened before it is noted as seen: a payload that can't be read must not hide a good copy of the same events.
        rows = rows_of(entry)
        seen = self._seen if self._seen is not None else {}
        new = seen.setdefault((entry.agent_id, batch.stream_id.hex()), SeqRanges()).add(batch.first_seq, batch.end_seq)
        fresh = sum(end - start for start, end in new)
        self._rows += fresh
        self._duplicates += batch.count - fresh
        return [rows.slice(start - batch.first_seq, end - start) for start, end in new]

    def _read_ranges(self) -> dict[tuple[str, str], SeqRanges]:
        seen: dict[tuple[str, str], SeqRanges] = {}
        for agent, stream, start, end in self._table.ranges(self._config.query_threads):
            seen.setdefault((agent, stream), SeqRanges()).add(start, end)
        return seen
