"""The events of hubs that do not run: a dead hub's folder, or several hubs' together.

Rules: the folders' journals are locked while open, so a live hub's folder is refused; nothing is compacted or given
away, only read; with several folders an event that more than one hub stored counts once.

>>> async with open_lake(Path("data/europe"), Path("data/asia")) as lake:
...     (await lake.refresh()).rows
1200
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pyarrow as pa

from nervure_core.errors import InputError
from nervure_hub.config import LakeConfig
from nervure_hub.context import QueryResult
from nervure_hub.gateway.journal import Journal
from nervure_hub.lake.lake import Lake, LakeStats
from nervure_hub.lake.orphans import LocalJournal, journal_folders
from nervure_hub.lake.query import QueryBounds, run_query
from nervure_hub.lake.rows import SCHEMA


class OfflineLake:
    """The lakes of one or more hub folders, asked as one."""

    def __init__(self, lakes: list[Lake], config: LakeConfig) -> None:
        self._lakes = lakes
        self._config = config

    async def query(self, sql: str) -> QueryResult:
        """Answer one SELECT over the events of all folders, each once.

        Raises:
            BadQuery: The statement is wrong or too slow.
            WorldError: A table can't be read.
        """
        tables = [await self._distinct(lake) for lake in self._lakes]
        whole = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
        if len(tables) > 1:
            whole = _once(whole)
        config = self._config
        bounds = QueryBounds(
            rows=config.query_rows,
            answer_mib=config.query_answer_mib,
            timeout_s=config.query_timeout_s,
            memory_mib=config.query_memory_mib,
            threads=config.query_threads,
        )
        return await asyncio.to_thread(run_query, sql, SCHEMA.empty_table(), whole, bounds)

    async def refresh(self) -> LakeStats:
        """Return the counters over all folders; ``rows`` are distinct, and repeats between folders are duplicates."""
        parts = [await lake.refresh() for lake in self._lakes]
        seen = sum(part.rows for part in parts)
        rows = seen if len(parts) < 2 else int((await self.query("SELECT count(*) FROM events")).rows[0][0])
        return LakeStats(
            rows=rows,
            pending_rows=sum(part.pending_rows for part in parts),
            duplicates_dropped=sum(part.duplicates_dropped for part in parts) + seen - rows,
            undecodable=sum(part.undecodable for part in parts),
            lost_reported=sum(part.lost_reported for part in parts),
            commits=0,
        )

    async def _distinct(self, lake: Lake) -> pa.Table:
        stored, fresh = await lake.snapshot()
        compacted = stored if isinstance(stored, pa.Table) else await asyncio.to_thread(stored.to_table)
        return pa.concat_tables([compacted.select(SCHEMA.names).cast(SCHEMA), fresh])


def _once(rows: pa.Table) -> pa.Table:
    firsts = rows.append_column("row", pa.array(range(rows.num_rows), pa.int64()))
    kept = firsts.group_by(["agent", "stream", "seq"]).aggregate([("row", "min")])
    return rows.take(kept.column("row_min"))


@asynccontextmanager
async def open_lake(*data_folders: Path, config: LakeConfig | None = None) -> AsyncGenerator[OfflineLake]:
    """Open the folders (``--data``) of hubs that do not run.

    Raises:
        InputError: A folder is not a hub's.
        WorldError: A hub that runs uses one of them.
    """
    settings = config if config is not None else LakeConfig()
    lakes: list[Lake] = []
    with ExitStack() as stack:
        for data in data_folders:
            if not data.is_dir():
                raise InputError(f"{data}: no such folder", hint="give the --data folder of a hub")
            lake = Lake(data / "lake", settings)
            for folder in journal_folders(data):
                journal: Journal[None] = stack.enter_context(Journal(folder))
                lake.add_source(LocalJournal(folder.name, journal, keep=True))
            lakes.append(lake)
        yield OfflineLake(lakes, settings)
