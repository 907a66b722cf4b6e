"""Journals without a gateway: of hubs that do not run, or of gateways that a hub no longer has.

Rules: whoever reads such a journal locks it, as a gateway would; a hub that starts takes in what earlier gateways left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from nervure_hub.config import HubConfig
from nervure_hub.gateway.journal import Journal, JournalSlice


class LocalJournal:
    """A journal read in this process; its gateway does not run.

    Args:
        name: The gateway's.
        journal: Open.
        keep: Whether segments stay when they are compacted.
    """

    def __init__(self, name: str, journal: Journal[None], *, keep: bool) -> None:
        self.name = name
        self._journal = journal
        self._keep = keep

    async def read_journal(self, from_seq: int, max_bytes: int) -> JournalSlice:
        return await asyncio.to_thread(self._journal.read, from_seq, max_bytes)

    async def drop_journal(self, seq: int) -> int:
        return 0 if self._keep else await self._journal.drop_before(seq)


def journal_folders(data: Path) -> list[Path]:
    """Return the journals under a hub's folder, in order of name."""
    root = data / "journal"
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


@asynccontextmanager
async def orphan_journals(config: HubConfig) -> AsyncGenerator[list[LocalJournal]]:
    """Open the journals that gateways of earlier runs left and no gateway of now owns (there were more of them)."""
    owned = set(config.gateway_names())
    async with AsyncExitStack() as stack:
        found: list[LocalJournal] = []
        for folder in await asyncio.to_thread(journal_folders, config.data):
            if folder.name not in owned:
                journal: Journal[None] = await asyncio.to_thread(Journal, folder)
                stack.push_async_callback(asyncio.to_thread, journal.close)
                journal.start(lambda _tokens: None, lambda _tokens, _error: None)
                found.append(LocalJournal(folder.name, journal, keep=False))
        yield found
