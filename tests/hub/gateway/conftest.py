"""Real gateways on free ports."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nervure_core.errors import InputError
from nervure_core.files import sha256_hex
from nervure_hub.config import GatewayConfig
from nervure_hub.directory import Directory
from nervure_hub.gateway import GatewayServer, GatewaySettings


class Shelf:
    """Artifacts in memory."""

    def __init__(self) -> None:
        self.items: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        self.items[sha256_hex(data)] = data
        return sha256_hex(data)

    async def size(self, key: str) -> int:
        if key not in self.items:
            raise InputError(f"no artifact {key}")
        return len(self.items[key])

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        return self.items[key][offset : offset + length]


OpenGateway = Callable[..., AbstractAsyncContextManager[GatewayServer]]


@pytest.fixture
def directory() -> Directory:
    return Directory(silent_s=15.0)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def open_gateway(tmp_path: Path, directory: Directory, shelf: Shelf) -> OpenGateway:
    @asynccontextmanager
    async def opening(
        name: str = "gateway-0", *, port: int = 0, folder: Path | None = None, **config: Any
    ) -> AsyncGenerator[GatewayServer]:
        config = {"report_interval_s": 0.05, "drain_s": 0.2, "ack_delay_s": 0.0, **config}
        settings = GatewaySettings(
            name=name,
            hub_id="hub-1",
            region="europe",
            host="127.0.0.1",
            port=port,
            journal_folder=folder or tmp_path / "journal" / name,
            config=GatewayConfig(**config),
            hubs=("other:7443",),
        )
        async with GatewayServer(settings, shelf, directory) as gateway:
            yield gateway

    return opening
