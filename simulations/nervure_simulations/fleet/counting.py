"""Count what the fleet's hubs stored, after all of them are down: the dead hub's journal included.

Rules: the truth is what can be read back, not what anybody reported; nothing is compacted or dropped while counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nervure_hub.lake import open_lake
from nervure_simulations.fleet.outcome import Stored


async def count_stored(folders: Sequence[Path]) -> Stored:
    """Count the events in the lakes and journals of these hub folders.

    Raises:
        InputError: A folder is not a hub's.
        WorldError: A hub still uses one of them, or a table can't be read.
    """
    rows = lost = 0
    for folder in folders:
        async with open_lake(folder) as lake:
            stats = await lake.refresh()
            rows += stats.rows
            lost += stats.lost_reported
    async with open_lake(*folders) as lake:
        unique = (await lake.refresh()).rows
    return Stored(unique=unique, rows=rows, lost_reported=lost)
