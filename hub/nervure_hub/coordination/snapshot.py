"""What a store without an etcd keeps over a restart: the keys that no lease owns, in one file.

Rules
    1. Written whole and atomically at every change: a few hundred keys, a few writes a second.
    2. Leased keys stay out: whoever held them is gone by the time the file is read.
    3. The revision is kept and goes on, so epochs of elections grow over restarts too.
    4. A file that can't be read stops the hub with one message; starting empty would hide what was desired.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from nervure_core.errors import WorldError
from nervure_core.files import write_atomic
from nervure_hub.coordination.contract import KeyValue
from nervure_hub.coordination.store import RevisionedStore

_FORMAT = 1


class SnapshotFile:
    """One file.

    Args:
        path: Where it is; its folder is made if absent.
    """

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> RevisionedStore:
        """Return the store that the file holds, an empty one where there is no file.

        Raises:
            WorldError: The file can't be read or is not ours.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not self._path.exists():
                return RevisionedStore()
            content = json.loads(self._path.read_bytes())
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']!r} is not {_FORMAT}")
            keys = [
                KeyValue(key, base64.b64decode(value, validate=True), int(revision), int(created))
                for key, value, revision, created in content["keys"]
            ]
            return RevisionedStore.restored(keys, int(content["revision"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WorldError(
                f"{self._path}: coordination's file can't be read: {error}",
                hint="restore it from a backup, or move it away to begin without models and desired state",
            ) from error

    def save(self, store: RevisionedStore) -> None:
        """Write the store.

        Raises:
            WorldError: The file can't be written.
        """
        entries, revision = store.list("")
        keys = [
            (entry.key, base64.b64encode(entry.value).decode(), entry.revision, entry.create_revision)
            for entry in entries
            if not entry.lease_id
        ]
        data = json.dumps({"format": _FORMAT, "revision": revision, "keys": keys}).encode()
        try:
            write_atomic(self._path, data)
        except OSError as error:
            raise WorldError(
                f"{self._path}: coordination's file can't be written: {error.strerror}", hint="free some space"
            ) from error
