from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.hub import FleetTwin, agent_record, hub_context

from nervure_core.clock import SystemClock, VirtualClock
from nervure_core.messages import Assignment, Running
from nervure_hub.coordination import FencedOut, MemoryCoordination
from nervure_hub.deployments import DESIRED_PREFIX, AgentFacts, Deployment, Deployments, Selector, resolve, selects
from nervure_hub.deployments.controller import REMIND_S, DeploymentsController, Teller
from nervure_hub.registry import BundleRef, ModelMissing

WORDS = st.sampled_from(["a", "b", "c"])
FACTS = st.builds(AgentFacts, WORDS, WORDS, WORDS, st.dictionaries(WORDS, WORDS, max_size=2))
SELECTORS = st.builds(
    Selector,
    labels=st.dictionaries(WORDS, WORDS, max_size=2),
    regions=st.lists(WORDS, max_size=2).map(tuple),
    agents=st.lists(WORDS, max_size=2).map(tuple),
)
DEPLOYMENTS = st.lists(
    st.builds(
        Deployment,
        name=WORDS,
        release=st.integers(1, 5),
        bundle_id=st.sampled_from("abc").map(lambda digit: digit * 64),
        workload=st.sampled_from(["", "a", "b"]),
        slot=st.sampled_from(["default", "other"]),
        selector=SELECTORS,
        withdrawn=st.booleans(),
        revision=st.integers(1, 50),
    ),
    max_size=6,
    unique_by=lambda item: item.revision,
)


def ref(name: str = "flows", release: int = 1, workload: str = "network") -> BundleRef:
    return BundleRef(name, release, f"{release:064x}", workload, 100, 0.0)


@given(deployments=DEPLOYMENTS, agent=FACTS)
def test_resolving_gives_each_slot_its_last_written_selecting_deployment(
    deployments: list[Deployment], agent: AgentFacts
) -> None:
    desired = resolve(deployments, agent)
    assert desired.generation == max((item.revision for item in deployments), default=0)
    assert desired == resolve(reversed(deployments), agent)
    by_slot = {assignment.slot: assignment for assignment in desired.assignments}
    assert len(by_slot) == len(desired.assignments)
    for slot in ("default", "other"):
        fitting = [item for item in deployments if item.slot == slot and selects(item, agent)]
        if not fitting:
            assert slot not in by_slot
        else:
            last = max(fitting, key=lambda item: item.revision)
            assert by_slot[slot] == Assignment(slot, last.name, last.release, last.bundle_id)


@given(deployment=DEPLOYMENTS.filter(bool).map(lambda found: found[0]))
def test_a_record_is_read_back_as_it_was_written(deployment: Deployment) -> None:
    assert Deployment.from_bytes("k", deployment.to_bytes(), deployment.revision) == deployment


async def test_deploying_again_keeps_the_selector_and_counts_up() -> None:
    deployments = Deployments(MemoryCoordination(SystemClock()))
    first = await deployments.deploy(ref(), Selector(regions=("europe",)))
    second = await deployments.deploy(ref(release=2))
    assert (first.generation, second.generation) == (1, 2)
    assert second.selector.regions == ("europe",)
    assert second.revision > first.revision
    desired = await deployments.resolve(AgentFacts("a", "europe", "network"))
    assert [assignment.release for assignment in desired.assignments] == [2]
    assert not (await deployments.resolve(AgentFacts("a", "asia", "network"))).assignments
    assert not (await deployments.resolve(AgentFacts("a", "europe", "table"))).assignments


async def test_concurrent_deployments_all_count() -> None:
    deployments = Deployments(MemoryCoordination(SystemClock()))
    await asyncio.gather(*(deployments.deploy(ref(release=release)) for release in range(1, 6)))
    (found,) = await deployments.list()
    assert found.generation == 5


async def test_withdrawing_grows_the_generation_too() -> None:
    deployments = Deployments(MemoryCoordination(SystemClock()))
    with pytest.raises(ModelMissing):
        await deployments.withdraw("flows")
    await deployments.deploy(ref())
    agent = AgentFacts("a", "europe", "network")
    before = await deployments.resolve(agent)
    await deployments.withdraw("flows")
    after = await deployments.resolve(agent)
    assert after.generation > before.generation
    assert not after.assignments


async def test_a_former_leader_can_not_deploy() -> None:
    coordination = MemoryCoordination(SystemClock())
    deployments = Deployments(coordination)
    async with coordination.campaign("rounds", "me", 5.0) as leadership:
        await deployments.deploy(ref(), leadership=leadership)
    with pytest.raises(FencedOut):
        await deployments.deploy(ref(release=2), leadership=leadership)
    assert [item.release for item in await deployments.list()] == [1]


async def test_a_record_that_can_not_be_read_freezes_no_other() -> None:
    coordination = MemoryCoordination(SystemClock())
    deployments = Deployments(coordination)
    await coordination.put(DESIRED_PREFIX + "broken", b"{")
    await deployments.deploy(ref())
    async with aclosing(deployments.follow()) as states:
        assert [item.name for item in await anext(states)] == ["flows"]


def test_the_teller_tells_each_agent_once_a_session_and_reminds() -> None:
    teller = Teller()
    wanted = [Deployment(name="flows", release=1, bundle_id="a" * 64, revision=7)]
    agent = agent_record("a")
    due = teller.due(wanted, [agent], 0.0)
    assert list(due) == ["a"]
    assert due["a"].generation == 7
    assert list(teller.due(wanted, [agent], 1.0)) == ["a"], "nobody took it yet"
    teller.took([agent], due, 1.0)
    assert not teller.due(wanted, [agent], 2.0)
    assert list(teller.due(wanted, [agent], 1.0 + REMIND_S)) == ["a"], "it does not run what it was told"
    runs = replace(agent, running=Running("flows", 1, "a" * 64))
    assert not teller.due(wanted, [runs], 1.0 + REMIND_S)
    assert list(teller.due(wanted, [replace(runs, session_id="next")], 2.0)) == ["a"]
    assert not teller.due(wanted, [replace(runs, state="gone")], 2.0)
    assert not teller.told


def test_the_teller_says_nothing_while_nothing_was_ever_desired_and_takes_back() -> None:
    teller = Teller()
    agent = agent_record("a")
    assert not teller.due([], [agent], 0.0)
    wanted = Deployment(name="flows", release=1, bundle_id="a" * 64, revision=7)
    teller.took([agent], teller.due([wanted], [agent], 0.0), 0.0)
    (withdrawn,) = teller.due([wanted.model_copy(update={"withdrawn": True, "revision": 8})], [agent], 0.0).values()
    assert (withdrawn.generation, withdrawn.assignments) == (8, ())


async def test_the_controller_brings_the_fleet_to_what_is_desired() -> None:
    fleet = FleetTwin()
    fleet.add(agent_record("a"), agent_record("b", home_region="asia"), agent_record("c", workload="table"))
    fleet.deaf.add("a")
    clock = VirtualClock()
    context = hub_context(fleet, clock=clock)
    controller = DeploymentsController(context)

    async def until(condition: object) -> None:
        assert callable(condition)
        while not condition():
            clock.advance(0.1)
            await asyncio.sleep(0)

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(controller.run())
        await context.deployments.deploy(ref(), Selector(regions=("europe",)))
        await until(lambda: len(fleet.told) == 0 and controller.wanted)
        fleet.deaf.clear()
        await until(lambda: fleet.records["a"].running.release == 1)
        await context.deployments.deploy(ref(release=2), Selector())
        await until(lambda: fleet.records["b"].running.release == 2 and fleet.records["a"].running.release == 2)
        running.cancel()
    assert fleet.records["c"].running == Running()
    assert [agent_id for agent_id, _ in fleet.told] == ["a", "a", "b"]
    assert controller.failures == 0
