"""What a hub can be told: one frozen model, validated whole at start.

Rules
    1. Order of strength: command-line flag, environment (``NERVURE_HUB__…``), TOML file, default.
    2. An unknown key, a wrong type or a value out of bounds is refused before anything starts; the message names the
       place, the field and the value that was found.
    3. Every queue, size and time has a bound here; names carry their unit.
    4. Only ``load_config`` reads the environment, and only for the entry point.

A file::

    region = "europe"
    port = 7443
    etcd = ["10.0.0.1:2379", "10.0.0.2:2379"]

    [gateway]
    credit_bytes = 2097152

The same by environment: ``NERVURE_HUB__REGION=europe NERVURE_HUB__GATEWAY__CREDIT_BYTES=2097152``.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nervure_core.errors import ConfigurationError
from nervure_core.ids import check_name
from nervure_core.settings import load_settings
from nervure_core.transport import TlsFiles, is_loopback

ENVIRONMENT_PREFIX = "NERVURE_HUB__"
GRPC_PORT = 7443
API_PORT = 7444

Port = Annotated[int, Field(ge=0, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class GatewayConfig(_Section):
    """Sessions and the journal behind them."""

    heartbeat_s: float = Field(default=5.0, ge=0.1, le=300.0)
    """How often agents report."""
    missed_heartbeats: int = Field(default=3, ge=2, le=100)
    """An agent silent for so many heartbeats is gone."""
    credit_bytes: int = Field(default=4 << 20, ge=1 << 20, le=256 << 20)
    """Payload bytes one agent may have in flight; at least one whole frame."""
    max_sessions: int = Field(default=10_000, ge=1, le=100_000)
    """Per gateway; further agents are refused as busy and try the next hub."""
    ack_delay_s: float = Field(default=0.01, ge=0.0, le=1.0)
    """How long an acknowledgement may wait for others to go with it."""
    hello_timeout_s: float = Field(default=10.0, ge=0.1, le=120.0)
    report_interval_s: float = Field(default=0.5, ge=0.05, le=60.0)
    """How often a gateway tells the directory what changed."""
    max_task_bytes: int = Field(default=64 << 20, ge=1 << 10, le=512 << 20)
    """Largest content of one task, either way."""
    journal_segment_bytes: int = Field(default=8 << 20, ge=64 << 10, le=1 << 30)
    journal_quota_bytes: int = Field(default=8 << 30, ge=1 << 20)
    """What may wait for compaction; beyond it agents keep their events in their own spools."""
    journal_queue_bytes: int = Field(default=64 << 20, ge=1 << 20, le=1 << 30)
    """What may wait in memory for the disk before gateways stop reading."""
    drain_s: float = Field(default=5.0, ge=0.0, le=300.0)
    """What agents get to finish when the hub stops; also the window over which they spread their reconnects."""


class LakeConfig(_Section):
    """Compaction and questions."""

    compact_interval_s: float = Field(default=15.0, ge=0.1, le=86_400.0)
    compact_bytes: int = Field(default=32 << 20, ge=1 << 20, le=1 << 30)
    """Journal bytes of one gateway that one commit takes: bounds the memory of a compaction."""
    query_timeout_s: float = Field(default=30.0, ge=0.1, le=3600.0)
    query_rows: int = Field(default=10_000, ge=1, le=1_000_000)
    """Rows returned at most; an answer that was cut says so."""
    query_answer_mib: int = Field(default=32, ge=1, le=1024)
    """Likewise by size: the API holds an answer in memory as a whole."""
    query_memory_mib: int = Field(default=512, ge=64)
    query_threads: int = Field(default=2, ge=1, le=256)


class HubConfig(_Section):
    """One regional hub."""

    region: str
    hub_id: str = ""
    """Made at start when empty."""
    host: str = "127.0.0.1"
    """Address the gateways listen on; ``0.0.0.0`` lets other machines in."""
    port: Port = GRPC_PORT
    """Shared by all gateways; 0 takes a free one."""
    api_host: str = "127.0.0.1"
    api_port: Port = API_PORT
    advertise: str = ""
    """``host:port`` that agents are told; from host and port when empty."""
    gateways: int = Field(default=2, ge=1, le=64)
    data: Path = Path("nervure-data")
    """Folder for journal, lake and objects."""
    etcd: tuple[str, ...] = ()
    """``host:port`` of etcd members; without any, coordination stays inside this Ray cluster or process."""
    objects: str = ""
    """URL of the object store (``file:///…``, ``s3://…``); a folder under ``data`` when empty."""
    hubs: tuple[str, ...] = ()
    """``host:port`` of other hubs that agents may turn to, besides those that coordination knows."""
    ray_address: str = ""
    """A running Ray cluster; empty starts one on this machine."""
    in_process: bool = False
    """Everything in one process, without Ray: for laptops and tests."""
    clear: bool = False
    """Listen without TLS beyond this machine; a loopback address needs no permission."""
    tls_roots: Path | None = None
    """PEM file with the authorities whose agents are let in."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    gateway: GatewayConfig = GatewayConfig()
    lake: LakeConfig = LakeConfig()

    @field_validator("region", "hub_id")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if value:
            try:
                check_name("name", value)
            except ConfigurationError as error:
                raise ValueError(f"{error.message}; {error.hint}") from error
        return value

    @field_validator("etcd", "hubs", mode="before")
    @classmethod
    def _splits(cls, value: object) -> object:
        # In the environment a list is a text with commas.
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("etcd", "hubs")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            host, _, port = address.rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536:
                raise ValueError(f"{address!r} is not host:port")
        return value

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if not self.region:
            raise ValueError("region must not be empty")
        if len({path is None for path in (self.tls_roots, self.tls_certificate, self.tls_key)}) > 1:
            raise ValueError("tls_roots, tls_certificate and tls_key go together: give all three or none")
        if self.tls_roots is None and not self.clear and not is_loopback(f"{self.host}:0"):
            raise ValueError(
                f"{self.host} can be reached from other machines and there are no TLS files: "
                "give tls_roots, tls_certificate and tls_key, or say clear = true (--clear)"
            )
        if self.port and self.port == self.api_port and self.host == self.api_host:
            raise ValueError(f"port and api_port are both {self.port}: agents and the API need one each")
        if self.in_process and self.ray_address:
            raise ValueError("in_process runs without Ray, so it contradicts ray_address")
        return self

    @property
    def journal_folder(self) -> Path:
        """Holds one folder a gateway."""
        return self.data / "journal"

    @property
    def lake_folder(self) -> Path:
        """The Delta table's folder."""
        return self.data / "lake"

    @property
    def coordination_url(self) -> str:
        """URL of the coordination store."""
        if self.etcd:
            return "etcd://" + ",".join(self.etcd)
        # Alone, a hub keeps models and desired state in a file of its own: they outlive a restart.
        return f"{'memory:' if self.in_process else 'ray:coordination'}?{self.data.resolve() / 'coordination.json'}"

    @property
    def objects_url(self) -> str:
        """URL of the object store, the default filled in."""
        return self.objects or (self.data.resolve() / "objects").as_uri()

    @property
    def tls(self) -> TlsFiles | None:
        """The TLS files, None when sessions go in the clear."""
        if self.tls_roots is None or self.tls_certificate is None or self.tls_key is None:
            return None
        return TlsFiles(self.tls_roots, self.tls_certificate, self.tls_key)

    def gateway_names(self) -> tuple[str, ...]:
        """Return the names of this hub's gateways, which are also their journals' folders."""
        return tuple(f"gateway-{index}" for index in range(self.gateways))

    def advertised(self, port: int) -> str:
        """Return the ``host:port`` that agents are told, ``port`` being the one really bound."""
        if self.advertise:
            return self.advertise
        host = socket.gethostname() if self.host in ("0.0.0.0", "::", "[::]") else self.host  # noqa: S104 - compares
        return f"{host}:{port}"


def load_config(
    flags: Mapping[str, Any] | None = None,
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> HubConfig:
    """Return the configuration from all its sources.

    Args:
        flags: What the command line gave; None values count as not given.
        file: A TOML file.
        environment: Usually ``os.environ``.

    Raises:
        ConfigurationError: The file can't be read, or a value is unknown, of the wrong type or out of bounds.
    """
    return load_settings(
        HubConfig,
        prefix=ENVIRONMENT_PREFIX,
        file=file,
        environment=environment,
        flags=flags,
        hint="`nervure hub up --help` explains the settings",
    )
