"""Where a model's bytes come from: the seam between deployment and the network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from nervure_core.errors import InputError


class NoSuchArtifactError(InputError):
    """A hub does not have what it told us to run.

    Attributes:
        hub: ``host:port``.
        sha256: What was asked for.
    """

    code = "no_such_artifact"

    def __init__(self, hub: str, sha256: str) -> None:
        super().__init__(f"artifact {sha256[:12]}…: {hub} does not have it", hint="push the bundle again")
        self.hub = hub
        self.sha256 = sha256


class Fetch(Protocol):
    """Bytes of an artifact from ``offset`` on, in order."""

    def __call__(self, sha256: str, offset: int) -> AsyncIterator[bytes]:
        """Yield chunks.

        Raises:
            WorldError: No hub is reachable, or the connection broke.
            NoSuchArtifactError: The hub has no such artifact.
        """
        ...
