"""What the registry says of one release, and its errors."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from nervure_core.errors import InputError, WorldError

MODELS_PREFIX = "/nervure/models/"


class ModelMissing(InputError):
    """There is no such model or release."""

    code = "model-missing"


class ReleaseRefused(InputError):
    """A release would not come after the ones that are there.

    Attributes:
        name: Name of the model.
        release: The release that was refused.
    """

    code = "release-refused"

    def __init__(self, message: str, name: str, release: int, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.name = name
        self.release = release


@dataclass(frozen=True, slots=True)
class BundleRef:
    """One release of one model."""

    name: str
    release: int
    bundle_id: str
    workload: str
    size_bytes: int
    """All files together."""
    pushed_at_s: float
    """Wall clock of the hub that took it."""
    run_id: str = ""
    """Federated run that made it; empty when a person pushed it."""
    round: int = 0
    note: str = ""

    @property
    def key(self) -> str:
        """Where coordination keeps it; padded, so that keys sort as releases do."""
        return f"{MODELS_PREFIX}{self.name}/{self.release:010d}"

    def to_bytes(self) -> bytes:
        """Return the value of its key."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, key: str, value: bytes) -> BundleRef:
        """Return what ``to_bytes`` wrote; fields of later versions are passed over.

        Raises:
            WorldError: The value is none of ours.
        """
        known = {field.name for field in fields(cls)}
        try:
            content = json.loads(value)
            return cls(**{name: item for name, item in content.items() if name in known})
        except (ValueError, TypeError, AttributeError) as error:
            raise WorldError(f"coordination key {key} holds no release: {error}") from error
