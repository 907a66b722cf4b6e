"""The link to one hub: whatever gRPC makes of a lost connection, the agent hears one word."""

import pytest
from tests.edge.hub_twin import HubTwin

from nervure_core.files import sha256_hex
from nervure_edge.session import LinkDownError
from nervure_edge.uplink import GrpcLink


async def test_a_channel_that_is_closed_under_a_fetch_is_a_lost_link_and_no_cancellation() -> None:
    async with HubTwin() as hub:
        data = bytes(8 << 20)
        hub.artifacts[sha256_hex(data)] = data
        link = GrpcLink(hub.address)
        await link.ready()
        chunks = link.fetch(sha256_hex(data), 0)
        assert await anext(chunks)
        await link.close()
        with pytest.raises(LinkDownError):
            async for _ in chunks:
                pass
