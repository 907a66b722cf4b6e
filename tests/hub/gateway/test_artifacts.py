"""Artifacts over the agents' connection: whole, in ranges, and what is not there."""

from __future__ import annotations

from typing import Any, cast

import grpc
import pytest
from tests.hub.gateway.conftest import OpenGateway, Shelf

from nervure.v1 import artifacts_pb2
from nervure_core.messages import MAX_PART_BYTES
from nervure_core.transport import channel

DATA = bytes(range(256)) * 8192


async def fetch(port: int, sha256: str, offset: int = 0, length: int = 0) -> list[artifacts_pb2.Chunk]:
    async with channel(f"127.0.0.1:{port}") as connection:
        call = cast("Any", connection).unary_stream(
            "/nervure.v1.ArtifactService/Fetch",
            request_serializer=artifacts_pb2.FetchRequest.SerializeToString,
            response_deserializer=artifacts_pb2.Chunk.FromString,
        )
        request = artifacts_pb2.FetchRequest(sha256=sha256, offset=offset, length=length)
        return [chunk async for chunk in call(request)]


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 0), (5, 100), (MAX_PART_BYTES - 1, 2), (len(DATA) - 3, 0), (7, 10 * len(DATA))]
)
async def test_ranges(open_gateway: OpenGateway, shelf: Shelf, offset: int, length: int) -> None:
    async with open_gateway() as gateway:
        chunks = await fetch(gateway.port, shelf.put(DATA), offset, length)
    end = offset + length if length else len(DATA)
    assert b"".join(chunk.data for chunk in chunks) == DATA[offset:end]
    assert all(len(chunk.data) <= MAX_PART_BYTES and chunk.total_bytes == len(DATA) for chunk in chunks)
    assert chunks[0].offset == offset


async def test_what_is_not_there(open_gateway: OpenGateway, shelf: Shelf) -> None:
    async with open_gateway() as gateway:
        with pytest.raises(grpc.RpcError) as missing:
            await fetch(gateway.port, "0" * 64)
        with pytest.raises(grpc.RpcError) as beyond:
            await fetch(gateway.port, shelf.put(b"abc"), offset=4)
    assert [cast("Any", item.value).code() for item in (missing, beyond)] == [grpc.StatusCode.NOT_FOUND] * 2
