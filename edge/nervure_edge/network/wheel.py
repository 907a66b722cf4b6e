"""When which flow is to be looked at again: a calendar of coarse slots, O(1) per packet.

Moving a flow to its new place on every packet would cost more than counting the packet. So a flow stays in the slot where it was put;
when that slot comes due its owner is asked for the real deadline, and if that has moved, the flow is put into the slot of the new one.
Each flow is moved at most once per time-out, however many packets it has (the lazy form of the timing wheels of Varghese and Lauck,
SOSP 1987).

Rules:

- An entry is valid while its ``slot`` names the slot it lies in; moving it leaves a stale entry behind, which is dropped when met.
- Stale entries are bounded: when they outnumber what the caller says lives, the calendar is rebuilt.
"""

from __future__ import annotations

import heapq
from typing import Final, Generic, Protocol, TypeVar

NEVER: Final = 1 << 63
NOWHERE: Final = -1
"""The ``slot`` of what does not lie in the calendar."""
SLOT_BITS: Final = 18
"""A slot is 2^18 microseconds wide, about a quarter of a second: deadlines are met no later than that."""


class Scheduled(Protocol):
    """What can lie in the calendar."""

    slot: int


S = TypeVar("S", bound=Scheduled)


class Wheel(Generic[S]):
    """Entries by the slot of their deadline."""

    def __init__(self) -> None:
        self._slots: dict[int, list[S]] = {}
        self._order: list[int] = []
        self.size = 0
        """Entries, stale ones included."""
        self.due_us = NEVER
        """When the earliest slot is over, in microseconds."""

    def put(self, entry: S, deadline_us: int) -> None:
        """Put an entry into the slot of its deadline; where it lay before becomes stale."""
        slot = deadline_us >> SLOT_BITS
        entry.slot = slot
        entries = self._slots.get(slot)
        if entries is None:
            self._slots[slot] = [entry]
            heapq.heappush(self._order, slot)
            self.due_us = (self._order[0] + 1) << SLOT_BITS
        else:
            entries.append(entry)
        self.size += 1

    def take_due(self, now_us: int) -> list[S]:
        """Remove and return the valid entries of the earliest slot if that slot is over, else an empty list."""
        if self.due_us > now_us:
            return []
        slot = heapq.heappop(self._order)
        entries = self._slots.pop(slot)
        self.size -= len(entries)
        self._set_due()
        taken: list[S] = []
        for entry in entries:
            if entry.slot == slot:
                entry.slot = NOWHERE  # an entry that was moved away and back lies here twice
                taken.append(entry)
        return taken

    def take_earliest(self) -> S | None:
        """Remove and return one valid entry of the earliest slot, due or not; None where there is none."""
        while self._order:
            slot = self._order[0]
            entries = self._slots[slot]
            while entries:
                entry = entries.pop()
                self.size -= 1
                if entry.slot == slot:
                    entry.slot = NOWHERE
                    return entry
            heapq.heappop(self._order)
            del self._slots[slot]
            self._set_due()
        return None

    def drop_stale(self) -> None:
        """Forget all stale entries."""
        for slot, entries in self._slots.items():
            entries[:] = [entry for entry in entries if entry.slot == slot]
        self.size = sum(map(len, self._slots.values()))

    def _set_due(self) -> None:
        self.due_us = (self._order[0] + 1) << SLOT_BITS if self._order else NEVER
