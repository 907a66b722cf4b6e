"""A revisioned key-value store as plain data: what etcd promises, without a network, a thread or a clock of its own.

Rules
    1. Every change makes a new revision and one event in the history; a lease that ends deletes all its keys in one
       revision, as etcd does.
    2. Time comes in as an argument (seconds, monotonic); ``expire`` is called before anything else looks.
    3. The history is bounded; who asks for more gets ``Compacted``.

>>> store = RevisionedStore()
>>> store.put("/a", b"1")
2
>>> store.compare_and_put("/a", b"2", expected_revision=1)
False
>>> store.compare_and_put("/a", b"2", expected_revision=2)
True
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from nervure_hub.coordination.contract import Compacted, KeyValue, LeaseLost, Listing, WatchEvent

HISTORY_EVENTS = 10_000


@dataclass(slots=True)
class _LeaseState:
    ttl_s: float
    deadline_s: float
    keys: set[str] = field(default_factory=set[str])


class RevisionedStore:
    """Keys with revisions, leases and a bounded history.

    Args:
        history_events: How many changes a watch can look back.
    """

    __slots__ = ("_forgotten", "_history", "_keys", "_leases", "_next_lease", "revision")

    def __init__(self, history_events: int = HISTORY_EVENTS) -> None:
        self.revision = 1
        self._keys: dict[str, KeyValue] = {}
        self._leases: dict[int, _LeaseState] = {}
        self._next_lease = 1
        self._history: deque[WatchEvent] = deque(maxlen=history_events)
        self._forgotten = 0  # the highest revision that fell out of the history

    @classmethod
    def restored(cls, keys: Iterable[KeyValue], revision: int) -> Self:
        """Return a store that goes on after ``revision``; its history before that is forgotten."""
        store = cls()
        store._keys = {entry.key: entry for entry in keys}
        store.revision = store._forgotten = revision
        return store

    def get(self, key: str) -> KeyValue | None:
        """Return the key, or None."""
        return self._keys.get(key)

    def list(self, prefix: str) -> Listing:
        """Return the keys under a prefix in order, and the present revision."""
        return [self._keys[key] for key in sorted(self._keys) if key.startswith(prefix)], self.revision

    def put(self, key: str, value: bytes, lease_id: int = 0) -> int:
        """Write a key and return the new revision.

        Raises:
            LeaseLost: There is no such lease.
        """
        if lease_id and lease_id not in self._leases:
            raise LeaseLost(f"lease {lease_id} of {key} does not exist any more")
        before = self._keys.get(key)
        self.revision += 1
        created = before.create_revision if before else self.revision
        if before and before.lease_id in self._leases:
            self._leases[before.lease_id].keys.discard(key)
        if lease_id:
            self._leases[lease_id].keys.add(key)
        self._keys[key] = KeyValue(key, value, self.revision, created, lease_id)
        self._remember(WatchEvent("put", key, value, self.revision, created))
        return self.revision

    def compare_and_put(self, key: str, value: bytes, *, expected_revision: int, lease_id: int = 0) -> bool:
        """Write only if the key's last change was ``expected_revision`` (0: absent).

        Raises:
            LeaseLost: There is no such lease, and the comparison held.
        """
        if self._changed_at(key) != expected_revision:
            return False
        self.put(key, value, lease_id)
        return True

    def put_fenced(self, key: str, value: bytes, election_key: str, epoch: int) -> int | None:
        """Write only while the election key was made at ``epoch``; return the new revision or None."""
        held = self._keys.get(election_key)
        if held is None or held.create_revision != epoch:
            return None
        return self.put(key, value)

    def delete(self, key: str) -> bool:
        """Delete a key; say whether it was there."""
        if key not in self._keys:
            return False
        self._drop([key])
        return True

    def delete_if(self, key: str, expected_revision: int) -> bool:
        """Delete only if the key's last change was ``expected_revision``."""
        return self._changed_at(key) == expected_revision and self.delete(key)

    def events(self, prefix: str, from_revision: int) -> Sequence[WatchEvent]:
        """Return the changes under a prefix since a revision, that one included.

        Raises:
            Compacted: The history doesn't reach that far back.
        """
        if from_revision <= self._forgotten:
            raise Compacted(self._forgotten + 1)
        return [event for event in self._history if event.revision >= from_revision and event.key.startswith(prefix)]

    def grant(self, ttl_s: float, now_s: float) -> int:
        """Return the id of a new lease."""
        lease_id, self._next_lease = self._next_lease, self._next_lease + 1
        self._leases[lease_id] = _LeaseState(ttl_s, now_s + ttl_s)
        return lease_id

    def renew(self, lease_id: int, now_s: float) -> bool:
        """Start a lease's time again; say whether it exists."""
        state = self._leases.get(lease_id)
        if state is None:
            return False
        state.deadline_s = now_s + state.ttl_s
        return True

    def revoke(self, lease_id: int) -> None:
        """End a lease and delete its keys; one that is gone already is no error."""
        state = self._leases.pop(lease_id, None)
        if state is not None and state.keys:
            self._drop(sorted(state.keys))

    def expire(self, now_s: float) -> None:
        """End every lease whose time has come."""
        for lease_id in [lease_id for lease_id, state in self._leases.items() if state.deadline_s <= now_s]:
            self.revoke(lease_id)

    def next_deadline_s(self) -> float | None:
        """Return when the next lease ends, or None while there is none."""
        return min((state.deadline_s for state in self._leases.values()), default=None)

    def _changed_at(self, key: str) -> int:
        held = self._keys.get(key)
        return held.revision if held else 0

    def _drop(self, keys: Sequence[str]) -> None:
        self.revision += 1
        for key in keys:
            gone = self._keys.pop(key)
            if gone.lease_id in self._leases:
                self._leases[gone.lease_id].keys.discard(key)
            self._remember(WatchEvent("delete", key, b"", self.revision))

    def _remember(self, event: WatchEvent) -> None:
        if len(self._history) == self._history.maxlen:
            self._forgotten = self._history[0].revision
        self._history.append(event)
