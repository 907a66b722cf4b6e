"""The agent's configuration: one frozen model per component, validated whole before anything starts.

Rules:
- Every queue, size, retry and wait has a bound here, with its unit in its name; nothing else reads the environment.
- Unknown keys are refused: a misspelt limit must not silently be the default.
- Settings that contradict each other are refused together with the names of both.
- Where values come from, and in which order, is the business of ``nervure_edge.config_sources``.

>>> AgentConfig(agent_id="porch-1", data=Path("/var/lib/nervure")).spool.quota_mib
64
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nervure_core.errors import ConfigurationError
from nervure_core.ids import check_name

MIB = 1 << 20


class Settings(BaseModel):
    """What all components' settings share: frozen, and no key that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class WorkloadSettings(Settings):
    """What the agent senses."""

    name: str = "network"
    """Entry point in the group ``nervure.workloads``."""
    options: dict[str, Any] = Field(default_factory=dict[str, Any])
    """The workload's own settings; it validates them itself."""


class ModelSettings(Settings):
    """Which model runs, and what a deployed one may cost."""

    bundle: Path | None = None
    """A local bundle to start with when the device has none yet."""
    slot: str = "default"
    max_bundle_mib: Annotated[int, Field(ge=1, le=4096)] = 512
    fetch_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 120.0
    probe_rows: Annotated[int, Field(ge=1, le=1024)] = 8
    """Rows of zeros that a new model must survive when its bundle brings no probe."""


class EngineSettings(Settings):
    """The decision loop."""

    poll_limit: Annotated[int, Field(ge=1, le=4096)] = 256
    """Observations taken per step; a swap takes effect between two steps."""
    benign_sample_every: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    """Every how many negative decisions become an event; 0 reports positives only."""


class SpoolSettings(Settings):
    """Events on their way to a hub."""

    quota_mib: Annotated[int, Field(ge=1, le=65_536)] = 64
    segment_kib: Annotated[int, Field(ge=64, le=65_536)] = 1024
    flush_events: Annotated[int, Field(ge=1, le=4096)] = 500
    """A batch is closed at this many events or at ``flush_interval_ms``, whichever comes first."""
    flush_interval_ms: Annotated[int, Field(ge=1, le=60_000)] = 200
    sync_interval_ms: Annotated[int, Field(ge=0, le=60_000)] = 50
    """Group commit: how long a batch may wait for others before it is made durable and may be sent."""

    @model_validator(mode="after")
    def _room_for_segments(self) -> SpoolSettings:
        if self.segment_kib * 4 > self.quota_mib * 1024:
            raise ValueError(
                f"segment_kib {self.segment_kib} is more than a quarter of quota_mib {self.quota_mib}: room is freed in "
                "whole segments; make segments smaller or the quota larger"
            )
        return self


class SessionSettings(Settings):
    """The connection to a hub."""

    connect_timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    backoff_base_s: Annotated[float, Field(gt=0, le=60)] = 0.5
    backoff_cap_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    mismatch_wait_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """How long to wait after a hub that speaks another protocol version."""
    silence_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """A hub that answers no heartbeat for this long is given up; at least three heartbeats are waited for."""
    drain_timeout_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    """How long ``stop`` waits for the hub to acknowledge what is spooled."""
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _consistent(self) -> SessionSettings:
        if self.backoff_base_s > self.backoff_cap_s:
            raise ValueError(f"backoff_base_s {self.backoff_base_s} is more than backoff_cap_s {self.backoff_cap_s}")
        given = [name for name in ("ca_file", "certificate_file", "key_file") if getattr(self, name) is not None]
        if len(given) in (1, 2):
            raise ValueError(f"only {' and '.join(given)} given: ca_file, certificate_file and key_file go together")
        return self


class TrainingSettings(Settings):
    """Learning on the device."""

    enabled: bool = True
    max_examples: Annotated[int, Field(ge=0, le=1_000_000)] = 20_000
    max_examples_mib: Annotated[int, Field(ge=1, le=1024)] = 16
    """The stricter of the two bounds holds."""
    max_epochs: Annotated[int, Field(ge=1, le=1000)] = 100
    max_batch_size: Annotated[int, Field(ge=1, le=65_536)] = 4096
    max_queued_tasks: Annotated[int, Field(ge=1, le=64)] = 4


class ResponseSettings(Settings):
    """What may be done about a finding."""

    mode: Literal["observe", "block"] = "observe"
    """``block`` lists a finding's source from the score on that the model's manifest allows blocking at."""
    block_ttl_s: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    max_blocks: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000


class AgentConfig(Settings):
    """Everything an agent needs to know before it starts."""

    agent_id: str
    data: Path
    """Folder of the spool and the models; one per agent."""
    region: str = "local"
    """The region the agent belongs to, whichever hub it talks to now."""
    labels: dict[str, str] = Field(default_factory=dict[str, str])
    hubs: tuple[str, ...] = ()
    """``host:port`` of hubs, best first; none means the agent works for itself."""
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    workload: WorkloadSettings = WorkloadSettings()
    model: ModelSettings = ModelSettings()
    engine: EngineSettings = EngineSettings()
    spool: SpoolSettings = SpoolSettings()
    session: SessionSettings = SessionSettings()
    training: TrainingSettings = TrainingSettings()
    response: ResponseSettings = ResponseSettings()

    @field_validator("agent_id", "region")
    @classmethod
    def _named(cls, value: str) -> str:
        try:
            return check_name("name", value)
        except ConfigurationError as error:
            raise ValueError(error.message) from error

    @field_validator("hubs", mode="before")
    @classmethod
    def _split_hubs(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("hubs")
    @classmethod
    def _host_and_port(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) > 64:
            raise ValueError(f"{len(value)} hubs; at most 64")
        for hub in value:
            host, _, port = hub.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
                raise ValueError(f"{hub!r} is not host:port")
        return value

    @field_validator("labels", mode="before")
    @classmethod
    def _split_labels(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if any(not sign for _, sign, _ in pairs):
            raise ValueError("should be key=value, comma separated")
        return {key.strip(): text.strip() for key, _, text in pairs}

    @field_validator("labels")
    @classmethod
    def _bounded_labels(cls, value: dict[str, str]) -> dict[str, str]:
        if len(value) > 64 or any(len(key) > 63 or len(text) > 255 for key, text in value.items()):
            raise ValueError("at most 64 labels, keys of 63 and values of 255 characters")
        return value
