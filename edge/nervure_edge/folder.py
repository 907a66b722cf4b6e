"""A data folder belongs to one agent at a time.

Two agents in one folder would number the same events twice; a lock of the system ends with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from nervure_core.errors import ConfigurationError, WorldError


class FolderLock:
    """Holds a folder, which is made if missing, until released or the process ends.

    Args:
        folder: The data folder.

    Raises:
        WorldError: It cannot be made or written.
        ConfigurationError: Another agent holds it.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise WorldError(f"{folder}: {error.strerror}", hint="give a data folder that may be written") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise ConfigurationError(
                f"{folder}: another agent works in this data folder", hint="give each agent its own with --data"
            ) from error
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let others have it; safe to call again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
