"""Sessions over real gRPC: greeting, durability, repeats, refusals, faults that stay with their own session."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
from tests.hub.gateway.conftest import OpenGateway
from tests.support.wire_agent import WireAgent, until

from nervure_core.messages import (
    Credit,
    Desired,
    Goodbye,
    HeartbeatAck,
    Lost,
    Move,
    Refused,
    Running,
)
from nervure_hub.directory import Directory
from nervure_hub.gateway import Journal
from nervure_hub.gateway.records import StoredBatch, StoredLoss, decode_record


async def test_events_are_acknowledged_when_they_are_in_the_journal(open_gateway: OpenGateway) -> None:
    async with open_gateway() as gateway, WireAgent.connect(gateway.port, "camera-7", home_region="asia") as agent:
        await agent.send_events(3)
        await agent.send_events(2)
        await agent.acknowledged(5)
        await agent.wait_for(Credit)
        found = await gateway.read_journal(0, 1 << 20)
        entries = [decode_record(record.klass, record.payload) for record in found.records]
    assert [(entry.agent_id, entry.region) for entry in entries] == [("camera-7", "asia")] * 2
    assert [entry.batch.first_seq for entry in entries if isinstance(entry, StoredBatch)] == [0, 3]


async def test_what_was_sent_before_is_dropped_and_acknowledged_again(open_gateway: OpenGateway) -> None:
    async with open_gateway() as gateway:
        async with WireAgent.connect(gateway.port, "camera-7") as agent:
            await agent.send_events(3)
            await agent.acknowledged(3)
        async with WireAgent.connect(gateway.port, "camera-7") as agent:
            assert agent.durable_up_to == 3
            agent.durable_up_to = 0
            await agent.send_events(3, first_seq=0)
            await agent.acknowledged(3)
            counted = gateway.stats().events
    assert (counted.received, counted.stored, counted.duplicates_dropped) == (6, 3, 3)


async def test_watermarks_survive_a_restart(open_gateway: OpenGateway, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    for start in (0, 4):
        async with (
            open_gateway(folder=folder) as gateway,
            WireAgent.connect(gateway.port, "camera-7") as agent,
        ):
            assert agent.durable_up_to == start
            await agent.send_events(4)
            await agent.acknowledged(start + 4)
    with Journal[None](folder) as journal:
        (folder / "watermarks.json").unlink()
        assert len(journal.read(0, 1 << 20).records) == 2


async def test_another_protocol_is_refused_in_words(open_gateway: OpenGateway) -> None:
    async with open_gateway() as gateway, WireAgent.connect(gateway.port, "camera-7", protocol=9) as agent:
        refused = agent.received[0]
        assert isinstance(refused, Refused)
        assert refused.code == "protocol"
        assert "speaks 9" in refused.message
        assert await agent.next() is None
        assert await agent.end() == (grpc.StatusCode.OK, "")


async def test_a_malformed_frame_ends_its_own_session_only(open_gateway: OpenGateway) -> None:
    async with (
        open_gateway() as gateway,
        WireAgent.connect(gateway.port, "bad") as bad,
        WireAgent.connect(gateway.port, "good") as good,
    ):
        await bad.send_raw(b"\xff\xff\xff not protobuf")
        assert await bad.next() is None
        code, message = await bad.end()
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "no frame" in message
        await good.send_events(1)
        await good.acknowledged(1)
        assert gateway.stats().malformed_frames == 1


async def test_the_first_frame_must_be_hello(open_gateway: OpenGateway) -> None:
    async with open_gateway() as gateway, WireAgent.connect(gateway.port, "rude", hello=False) as agent:
        await agent.heartbeat()
        refused = await agent.wait_for(Refused)
        assert refused.code == "malformed"


async def test_a_newer_session_of_an_agent_ends_the_older(open_gateway: OpenGateway) -> None:
    async with (
        open_gateway() as gateway,
        WireAgent.connect(gateway.port, "camera-7") as older,
        WireAgent.connect(gateway.port, "camera-7") as newer,
    ):
        assert await older.next() is None
        assert "newer" in (await older.end())[1]
        await newer.send_events(1)
        await newer.acknowledged(1)


async def test_goodbye_is_acknowledged_to_the_end(open_gateway: OpenGateway) -> None:
    async with open_gateway() as gateway, WireAgent.connect(gateway.port, "camera-7") as agent:
        await agent.send_events(5)
        await agent.send(Goodbye("done"))
        await agent.finish()
        await agent.acknowledged(5)
        while await agent.next() is not None:
            pass
        assert (await agent.end())[0] is grpc.StatusCode.OK


async def test_a_loss_at_the_end_is_kept_and_acknowledged(open_gateway: OpenGateway) -> None:
    async with open_gateway() as gateway, WireAgent.connect(gateway.port, "camera-7") as agent:
        await agent.send_events(2)
        await agent.send(Lost(agent.stream_id, 2, 9, "quota"))
        await agent.send(Lost(agent.stream_id, 2, 9, "quota"))
        await agent.acknowledged(9)
        found = [
            decode_record(record.klass, record.payload) for record in (await gateway.read_journal(0, 1 << 20)).records
        ]
        assert [entry.lost for entry in found if isinstance(entry, StoredLoss)] == [
            Lost(agent.stream_id, 2, 9, "quota")
        ]
        assert gateway.stats().events.lost_reported == 7


async def test_a_stopping_gateway_asks_its_agents_to_move(open_gateway: OpenGateway) -> None:
    async def leave_when_asked(port: int) -> tuple[str, ...]:
        async with WireAgent.connect(port, "camera-7") as agent:
            here.set()
            move = await agent.wait_for(Move)
            await agent.finish()
            while await agent.next() is not None:
                pass
            return move.hubs

    here = asyncio.Event()
    async with asyncio.TaskGroup() as tasks, open_gateway(drain_s=20.0) as gateway:
        moved = tasks.create_task(leave_when_asked(gateway.port))
        await here.wait()
    assert moved.result() == ("other:7443",)


async def test_the_directory_hears_of_sessions_in_batches(open_gateway: OpenGateway, directory: Directory) -> None:
    async with open_gateway() as gateway:
        async with WireAgent.connect(gateway.port, "camera-7", labels={"site": "lab"}, can_train=True) as agent:
            await agent.heartbeat(sent_us=42, running=Running("ids", 3, "ab"), examples=12)
            assert (await agent.wait_for(HeartbeatAck)).sent_us == 42

            async def running() -> bool:
                return any(record.running == Running("ids", 3, "ab") for record in await directory.agents())

            await until(running)
            (record,) = await directory.agents()
            assert (record.labels, record.can_train, record.examples, record.state) == (
                {"site": "lab"},
                True,
                12,
                "live",
            )
            assert (await directory.stats()).sessions == 1
            assert await gateway.push_desired({"camera-7": Desired(2), "nobody": Desired(2)}) == {"camera-7"}
            assert (await agent.wait_for(Desired)).generation == 2

        async def gone() -> bool:
            return [record.state for record in await directory.agents()] == ["gone"]

        await until(gone)
