"""Agents against real gRPC hubs."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.edge.conftest import BundleMaker, ConfigMaker, write_rows
from tests.edge.hub_twin import HubTwin

from nervure_core.bundle import INFER, WEIGHTS, Bundle, with_new_weights
from nervure_core.bundle.manifest import Lineage
from nervure_core.codec import decode_content, encode_content
from nervure_core.errors import ConfigurationError, InputError, PeerError, WorldError
from nervure_core.messages import DeploymentState, Move, Refused, TaskKind, TaskOrder
from nervure_core.tensors import TaskContent
from nervure_edge.agent import Agent
from nervure_edge.config import AgentConfig, WorkloadSettings
from nervure_edge.session import State


@asynccontextmanager
async def running(config: AgentConfig) -> AsyncGenerator[Agent, None]:
    """An agent at work, stopped in order at the end."""
    async with Agent(config) as agent, asyncio.TaskGroup() as group:
        work = group.create_task(agent.run())
        try:
            async with asyncio.timeout(30):
                yield agent
        finally:
            agent.stop()
            await work


async def test_offline_agent_decides_spools_and_ends(make_config: ConfigMaker, bundle: Bundle) -> None:
    async with Agent(make_config(model={"bundle": bundle.folder})) as agent:
        await agent.run(once=True)
        found = agent.summary()
    assert found["decisions"] == 1000
    assert 400 < found["findings"] < 600
    assert found["events"] == {"produced": 1000, "acknowledged": 0, "lost": 0, "pending": 1000}
    assert found["examples"] == 1000


async def test_a_source_that_ends_early_fails_the_run_after_all_of_it_was_decided(
    make_config: ConfigMaker, make_bundle: BundleMaker, tmp_path: Path
) -> None:
    torn = tmp_path / "torn.pcap"
    torn.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"cut")
    config = make_config(model={"bundle": make_bundle().folder})
    config = config.model_copy(update={"workload": WorkloadSettings(name="network", options={"pcap": str(torn)})})
    async with Agent(config) as agent:
        with pytest.raises(InputError, match=r"torn\.pcap ends early: .*; what came before was decided"):
            await agent.run(once=True)
        assert agent.source_ended
        assert agent.summary()["source"]["truncated"] == 1


async def test_events_reach_the_hub_once_and_in_order(make_config: ConfigMaker, bundle: Bundle) -> None:
    async with HubTwin() as hub:
        async with Agent(make_config(hub.address, model={"bundle": bundle.folder})) as agent:
            await agent.run(once=True)
            assert agent.delivered
            assert agent.spool.counts().acknowledged == 1000
        events = hub.events("agent-1")
        assert len(events) == 1000
        assert hub.duplicates == 0
        assert {event.action for event in events if event.label == "attack"} == {"observe"}
        assert {event.action for event in events if event.label == "benign"} == {"none"}
        await hub.wait_for(lambda: hub.goodbyes)


async def test_credit_bounds_what_is_in_flight(make_config: ConfigMaker, bundle: Bundle) -> None:
    async with HubTwin() as hub:
        hub.credit_bytes = 1
        config = make_config(hub.address, model={"bundle": bundle.folder}, spool={"flush_events": 50})
        async with Agent(config) as agent:
            await agent.run(once=True)
        assert len(hub.events("agent-1")) == 1000
        # One batch at a time: credit may be overdrawn by one batch only.
        assert hub.most_in_flight_bytes < 10_000


async def test_failover_delivers_everything_once_across_regions(make_config: ConfigMaker, bundle: Bundle) -> None:
    lake: dict[tuple[str, bytes], dict[int, object]] = {}
    async with HubTwin("europe", stored=lake) as europe, HubTwin("asia", stored=lake) as asia:  # type: ignore[arg-type]
        config = make_config(
            europe.address, asia.address, model={"bundle": bundle.folder}, options={"rows_per_s": 2000}
        )
        async with running(config) as agent:
            await europe.wait_for(lambda: len(europe.events("agent-1")) > 100)
            assert agent.region == "europe"
            await europe.kill()
            await agent.wait_for(lambda: agent.region == "asia")
            await agent.wait_for(lambda: agent.source_ended and agent.delivered)
        assert len(asia.events("agent-1")) == 1000
        assert agent.spool.counts().lost == 0


async def test_move_goes_to_the_named_hub(make_config: ConfigMaker, bundle: Bundle) -> None:
    async with HubTwin("europe") as europe, HubTwin("asia") as asia:
        async with running(make_config(europe.address, model={"bundle": bundle.folder})) as agent:
            await agent.wait_for(lambda: agent.session_state is State.LIVE)
            europe.send("agent-1", Move((asia.address,), 0.05))
            await agent.wait_for(lambda: agent.region == "asia")
        assert len(asia.hellos) == 1


async def test_a_dead_hub_first_in_the_list_is_passed_over(make_config: ConfigMaker, bundle: Bundle) -> None:
    async with HubTwin() as dead:
        await dead.kill()
        async with (
            HubTwin() as hub,
            Agent(make_config(dead.address, hub.address, model={"bundle": bundle.folder})) as agent,
        ):
            await agent.run(once=True)
            assert agent.delivered


async def test_other_protocol_version_is_said_and_nothing_is_lost(make_config: ConfigMaker, bundle: Bundle) -> None:
    async with HubTwin() as hub:
        hub.protocol = 2
        config = make_config(hub.address, model={"bundle": bundle.folder})
        async with Agent(config) as agent:
            with pytest.raises(PeerError, match="protocol 2"):
                await agent.run(once=True)
        assert hub.events("agent-1") == []
        hub.protocol = 1
        async with Agent(config) as agent:
            await agent.run(once=True)
            assert agent.delivered


async def test_refused_agent_keeps_deciding_and_comes_in_later(make_config: ConfigMaker, bundle: Bundle) -> None:
    async with HubTwin() as hub:
        hub.refusal = Refused("busy", "come again")
        async with running(make_config(hub.address, model={"bundle": bundle.folder})) as agent:
            await hub.wait_for(lambda: len(hub.hellos) > 1)
            await agent.wait_for(lambda: agent.source_ended)
            hub.refusal = None
            await agent.wait_for(lambda: agent.delivered)
        assert len(hub.events("agent-1")) == 1000


async def test_what_is_no_hub_is_told_from_what_is_away_and_said_once(
    make_config: ConfigMaker, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        session = {"connect_timeout_s": 0.5, "backoff_base_s": 0.01, "backoff_cap_s": 0.02}
        async with Agent(make_config(address, session=session)) as agent:
            with pytest.raises(WorldError, match=r"no model, and no hub.* answers, but not as a hub does"):
                await agent.run(once=True)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len([text for text in warnings if "not as a hub does" in text]) == 1


async def test_no_hub_in_time_is_an_error_and_the_spool_keeps_the_events(
    make_config: ConfigMaker, bundle: Bundle
) -> None:
    async with HubTwin() as hub:
        await hub.kill()
        session = {"drain_timeout_s": 0.1, "connect_timeout_s": 0.2, "backoff_base_s": 0.01, "backoff_cap_s": 0.02}
        async with Agent(make_config(hub.address, model={"bundle": bundle.folder}, session=session)) as agent:
            with pytest.raises(WorldError, match=r"1000 events could not be delivered: .* Connection refused"):
                await agent.run(once=True)
            assert agent.spool.counts().pending == 1000


async def test_agent_without_a_model_waits_for_one_and_loses_no_row(make_config: ConfigMaker, bundle: Bundle) -> None:
    async with HubTwin() as hub, running(make_config(hub.address)) as agent:
        await agent.wait_for(lambda: agent.session_state is State.LIVE)
        await agent.wait_for(lambda: agent.workload_state == "waiting for a model")
        hub.deploy(bundle)
        await agent.wait_for(lambda: agent.source_ended and agent.delivered)
        assert agent.engine.decisions == 1000
        assert [report.state for report in hub.reports] == [DeploymentState.FETCHING, DeploymentState.RUNNING]


async def test_swap_under_load_decides_every_row(
    make_config: ConfigMaker, make_bundle: BundleMaker, bundle: Bundle, tmp_path: Path, rows: Path
) -> None:
    write_rows(rows, 20_000)
    async with HubTwin() as hub, running(make_config(hub.address, model={"bundle": bundle.folder})) as agent:
        await hub.wait_for(lambda: hub.events("agent-1"))
        parent = bundle
        for release in range(2, 8):
            folder = tmp_path / f"release-{release}"
            parent = with_new_weights(parent, folder, parent.weights(), release=release, lineage=Lineage(round=release))
            hub.deploy(parent, generation=release)
            await agent.wait_for(lambda: agent.running.release == release)  # noqa: B023 - awaited in this turn
        await agent.wait_for(lambda: agent.source_ended and agent.delivered)
        assert agent.engine.decisions == 20_000
        assert agent.engine.errors == 0
        events = hub.events("agent-1")
        assert len(events) == 20_000
        releases = [event.release for event in events]
        assert len(set(releases)) > 1
        assert {event.subject for event in events} == {f"row-{number}" for number in range(1, 20_001)}
        # The weights have not changed, only the manifest has: everything else was here already.
        weights = bundle.manifest.files[WEIGHTS].sha256
        assert all(sha256 != weights for sha256, _ in hub.fetched)


async def test_broken_onnx_is_reported_and_the_old_model_goes_on(
    make_config: ConfigMaker, make_bundle: BundleMaker, bundle: Bundle
) -> None:
    from nervure_core.bundle import write_bundle

    good = make_bundle(release=2)
    files = {name: good.path(name).read_bytes() for name in good.manifest.files}
    broken = write_bundle(good.folder.parent / "broken", good.manifest, {**files, INFER: files[INFER][:100]})
    async with HubTwin() as hub, running(make_config(hub.address, model={"bundle": bundle.folder})) as agent:
        hub.deploy(broken)
        await hub.wait_for(lambda: any(report.state is DeploymentState.FAILED for report in hub.reports))
        assert "not a model" in hub.reports[-1].message
        assert agent.running.bundle_id == bundle.bundle_id
        await agent.wait_for(lambda: agent.source_ended and agent.delivered)
        assert agent.engine.errors == 0
        # Wanted again, it is refused at once, without fetching anything.
        fetched = len(hub.fetched)
        hub.deploy(broken, generation=2)
        await hub.wait_for(lambda: sum(report.state is DeploymentState.FAILED for report in hub.reports) == 2)
        assert len(hub.fetched) == fetched


async def test_wrong_hash_is_refused_and_a_repaired_hub_is_believed(
    make_config: ConfigMaker, make_bundle: BundleMaker, bundle: Bundle
) -> None:
    good = make_bundle(release=2, inverted=True)
    weights = good.manifest.files[WEIGHTS].sha256
    async with HubTwin() as hub, running(make_config(hub.address, model={"bundle": bundle.folder})) as agent:
        hub.shelve(good)
        right = hub.artifacts[weights]
        hub.deploy(good)
        hub.artifacts[weights] = bytes(len(right))
        await hub.wait_for(lambda: any(report.state is DeploymentState.FAILED for report in hub.reports))
        assert "SHA-256" in hub.reports[-1].message
        assert agent.running.bundle_id == bundle.bundle_id


async def test_model_with_other_inputs_than_the_manifest_is_refused(
    make_config: ConfigMaker, make_bundle: BundleMaker, bundle: Bundle
) -> None:
    from nervure_core.bundle import write_bundle

    good = make_bundle(release=2)
    files = {name: good.path(name).read_bytes() for name in good.manifest.files}
    spec = good.manifest.inputs[0]
    wrong = good.manifest.model_copy(update={"inputs": (spec.model_copy(update={"name": "features"}),)})
    mismatched = write_bundle(good.folder.parent / "mismatched", wrong, files)
    async with HubTwin() as hub, running(make_config(hub.address, model={"bundle": bundle.folder})) as agent:
        hub.deploy(mismatched)
        await hub.wait_for(lambda: any(report.state is DeploymentState.FAILED for report in hub.reports))
        assert "'features'" in hub.reports[-1].message
        assert agent.running.bundle_id == bundle.bundle_id


async def test_fetch_that_was_cut_goes_on_where_it_ended(make_config: ConfigMaker, make_bundle: BundleMaker) -> None:
    good = make_bundle()
    async with HubTwin() as hub, running(make_config(hub.address)) as agent:
        await agent.wait_for(lambda: agent.session_state is State.LIVE)
        hub.chunk_bytes, hub.cut_fetch_after_bytes = 100, 500
        hub.deploy(good)
        await agent.wait_for(lambda: agent.running.bundle_id == good.bundle_id)
        assert hub.fetched[:2] == [(good.bundle_id, 0), (good.bundle_id, 500)]


async def test_deployed_model_survives_a_restart(make_config: ConfigMaker, make_bundle: BundleMaker) -> None:
    second = make_bundle(release=2, inverted=True)
    async with HubTwin() as hub:
        config = make_config(hub.address, options={"rows_per_s": 1.0})
        async with running(config) as agent:
            hub.deploy(second)
            await agent.wait_for(lambda: agent.running.release == 2)
        async with Agent(config.model_copy(update={"hubs": ()})) as again:
            assert again.running.bundle_id == second.bundle_id


async def test_training_task_learns_and_is_repeatable(make_config: ConfigMaker, make_bundle: BundleMaker) -> None:
    wrong = make_bundle(inverted=True)
    config = {"lr": 0.1, "epochs": 20, "batch-size": 32, "mu": 0.0, "seed": 3, "server-round": 1}
    order = TaskOrder(
        "task-1",
        "run-1",
        TaskKind.TRAIN,
        1,
        60.0,
        encode_content(TaskContent(arrays={"arrays": wrong.weights()}, configs={"config": dict(config)})),
    )
    async with HubTwin() as hub, running(make_config(hub.address, model={"bundle": wrong.folder})) as agent:
        await agent.wait_for(lambda: agent.source_ended and agent.session_state is State.LIVE)
        assert hub.hellos[-1].can_train
        for task_id in ("task-1", "task-2"):
            hub.order("agent-1", replace(order, task_id=task_id))
        await hub.wait_for(lambda: len(hub.results) == 2)
        first, second = (decode_content(result.content) for result in hub.results)
        assert all(result.ok for result in hub.results)
        metrics = first.metrics["metrics"]
        assert metrics["num-examples"] == 1000
        assert metrics["train-steps"] == 20 * 32
        assert set(first.arrays["arrays"]) == {"w", "bias"}
        for name, array in first.arrays["arrays"].items():
            np.testing.assert_array_equal(array, second.arrays["arrays"][name])
        evaluation = TaskContent(arrays={"arrays": first.arrays["arrays"]}, configs={"config": {}})
        hub.order("agent-1", replace(order, task_id="e", kind=TaskKind.EVALUATE, content=encode_content(evaluation)))
        await hub.wait_for(lambda: len(hub.results) == 3)
        after = decode_content(hub.results[-1].content).metrics["metrics"]
        assert after["tp"] + after["tn"] > 950  # type: ignore[operator]


async def test_bad_tasks_get_an_error_and_the_agent_lives(make_config: ConfigMaker, bundle: Bundle) -> None:
    weights = bundle.weights()
    contents = {
        "garbage": b"\xff\xff\xff",
        "no arrays": encode_content(TaskContent()),
        "wrong shape": encode_content(TaskContent(arrays={"arrays": {**weights, "w": np.zeros((2, 2), np.float32)}})),
        "not finite": encode_content(
            TaskContent(arrays={"arrays": {**weights, "bias": np.full(2, np.nan, np.float32)}})
        ),
        "bad setting": encode_content(TaskContent(arrays={"arrays": weights}, configs={"config": {"epochs": "many"}})),
    }
    async with HubTwin() as hub, running(make_config(hub.address, model={"bundle": bundle.folder})) as agent:
        await agent.wait_for(lambda: agent.source_ended and agent.session_state is State.LIVE)
        for number, content in enumerate(contents.values()):
            hub.order("agent-1", TaskOrder(f"task-{number}", "run", TaskKind.TRAIN, 1, 60.0, content))
            await hub.wait_for(lambda: len(hub.results) == number + 1)  # noqa: B023 - awaited in this turn
        assert [result.ok for result in hub.results] == [False] * len(contents)
        assert all(result.error for result in hub.results)
        hub.order(
            "agent-1",
            TaskOrder("late", "run", TaskKind.TRAIN, 1, 0.0, encode_content(TaskContent(arrays={"arrays": weights}))),
        )
        await hub.wait_for(lambda: len(hub.results) == len(contents) + 1)
        assert "deadline" in hub.results[-1].error
        hub.order("agent-1", TaskOrder("query", "run", TaskKind.QUERY, 1, 5.0))
        await hub.wait_for(lambda: hub.results[-1].ok)
        assert decode_content(hub.results[-1].content).metrics["metrics"]["num-examples"] == 1000


async def test_spool_over_quota_drops_samples_first_and_says_so(
    make_config: ConfigMaker, bundle: Bundle, rows: Path
) -> None:
    write_rows(rows, 60_000)
    config = make_config(model={"bundle": bundle.folder}, spool={"quota_mib": 1, "segment_kib": 64})
    async with Agent(config) as agent:
        await agent.run(once=True)
        counts = agent.spool.counts()
        assert agent.engine.decisions == 60_000
        assert counts.produced == 60_000
        assert 0 < counts.lost < 60_000
        assert counts.size_bytes <= 1 << 20
    async with HubTwin() as hub:
        write_rows(rows, 0)
        async with Agent(config.model_copy(update={"hubs": (hub.address,)})) as again:
            await again.run(once=True)
            assert again.delivered
        stored = len(hub.events("agent-1"))
        assert stored + sum(lost.to_seq - lost.from_seq for lost in hub.lost) == 60_000
        assert hub.lost
        labels = [event.label for event in hub.events("agent-1")]
        assert labels.count("attack") > labels.count("benign")


async def test_spool_that_a_hub_knows_better_goes_on_behind_it(make_config: ConfigMaker, bundle: Bundle) -> None:
    async with HubTwin() as hub:
        config = make_config(hub.address, model={"bundle": bundle.folder})
        async with Agent(config) as agent:
            hub.watermarks["agent-1", agent.spool.stream_id] = 5000
            await agent.run(once=True)
        # An old copy of the folder: what it numbered below the hub's mark counts as known, later events are new.
        assert all(seq >= 5000 for rows in hub.stored.values() for seq in rows)


async def test_two_agents_cannot_share_a_folder(make_config: ConfigMaker, bundle: Bundle) -> None:
    config = make_config(model={"bundle": bundle.folder})
    async with Agent(config):
        with pytest.raises(ConfigurationError, match="another agent"):
            async with Agent(config):
                pass


async def test_a_source_without_the_needed_column_is_named(
    make_config: ConfigMaker, bundle: Bundle, rows: Path
) -> None:
    write_rows(rows, 10)
    async with Agent(make_config(model={"bundle": bundle.folder}, options={"columns": ["a", "b", "d"]})) as agent:
        with pytest.raises(InputError, match="'d'"):
            await agent.run(once=True)


async def test_cancelled_agent_leaves_a_spool_that_opens(make_config: ConfigMaker, bundle: Bundle) -> None:
    config = make_config(model={"bundle": bundle.folder}, options={"rows_per_s": 500})
    async with Agent(config) as agent:
        async with asyncio.TaskGroup() as group:
            work = group.create_task(agent.run())
            await agent.wait_for(lambda: agent.spool.counts().produced > 0)
            work.cancel()
        assert work.cancelled()
    async with Agent(config) as again:
        assert again.spool.counts().pending > 0


async def test_many_agents_share_one_process(make_config: ConfigMaker, bundle: Bundle, tmp_path: Path) -> None:
    async with HubTwin() as hub, asyncio.TaskGroup() as group:

        async def one(number: int) -> None:
            config = make_config(
                hub.address, agent_id=f"agent-{number}", data=tmp_path / str(number), model={"bundle": bundle.folder}
            )
            async with Agent(config) as agent:
                await agent.run(once=True)

        for number in range(8):
            group.create_task(one(number))
        await hub.wait_for(lambda: sum(map(len, hub.stored.values())) == 8000)
