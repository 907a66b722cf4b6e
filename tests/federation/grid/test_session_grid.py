"""Flower's strategies, unmodified, over a fleet in memory whose agents really train with ``train.onnx``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.rounds_world import MODEL, make_start, rows, trainer

from nervure_core.bundle import Bundle
from nervure_core.clock import SystemClock
from nervure_core.codec import decode_content, encode_content
from nervure_core.errors import InternalError
from nervure_core.messages import TaskOrder
from nervure_core.tensors import TaskContent
from nervure_federation.exchange import Patience
from nervure_federation.flower import ConfigRecord, from_array_record, to_array_record
from nervure_federation.grid import Abandoned, NoNodes, QuorumMissed, Roster, SessionGrid, node_id
from nervure_federation.memory_fleet import Answer, MemoryFleet
from nervure_federation.rounds.training import Aggregate, NothingAggregated, TrainingOrder, cast_back, gate_for, train
from nervure_federation.rounds.workshop import trainable_of
from nervure_federation.strategies import KINDS, plan_strategy

CONFIG = {"lr": 0.05, "epochs": 1, "batch-size": 16, "seed": 1}
ORDER = TrainingOrder(1, CONFIG)
Arrays = dict[str, Any]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_start(tmp_path_factory.mktemp("bundle") / "start")


@pytest.fixture
def fleet() -> MemoryFleet:
    return MemoryFleet("europe", "hub-eu", SystemClock())


def grid_of(
    fleet: MemoryFleet, agents: tuple[str, ...], base: Mapping[str, NDArray[Any]] | None, **patience: Any
) -> SessionGrid:
    settings: dict[str, Any] = {"quorum": 1, "deadline_s": 20.0, "straggler_s": 20.0, **patience}
    limits = Patience(**settings)
    gate = gate_for(base, 1000) if base is not None else None
    return SessionGrid(Roster("run-1", 1, agents, limits), fleet, asyncio.get_running_loop(), SystemClock(), gate)


def recording(answer: Answer, kept: dict[str, TaskContent], name: str) -> Answer:
    async def both(order: TaskOrder) -> bytes:
        content = await answer(order)
        kept[name] = decode_content(content)
        return content

    return both


def weighted_mean(replies: Mapping[str, TaskContent]) -> Arrays:
    """FedAvg in numpy, in float64."""
    examples: dict[str, Any] = {name: reply.metrics["metrics"]["num-examples"] for name, reply in replies.items()}
    sums: Arrays = {}
    for agent, reply in replies.items():
        for name, array in reply.arrays["arrays"].items():
            sums[name] = sums.get(name, 0.0) + array.astype(np.float64) * examples[agent] / sum(examples.values())
    return sums


def median(replies: Mapping[str, TaskContent]) -> Arrays:
    sets: list[Arrays] = [dict(reply.arrays["arrays"]) for reply in replies.values()]
    return {name: np.median(np.stack([arrays[name] for arrays in sets]), 0) for name in sets[0]}


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [("fedavg", {}, weighted_mean), ("fedprox", {"mu": 0.1}, weighted_mean), ("fedmedian", {}, median)],
)
async def test_a_strategy_over_agents_that_train_equals_numpy(
    start: Bundle, fleet: MemoryFleet, name: str, options: dict[str, float], expected: Callable[..., Arrays]
) -> None:
    replies: dict[str, TaskContent] = {}
    agents = tuple(f"cam-{index}" for index in range(5))
    for index, agent in enumerate(agents):
        fleet.join(agent, recording(trainer(start, rows(index, 40 + 20 * index)), replies, agent), model=MODEL)
    base = trainable_of(start)
    grid = grid_of(fleet, agents, base)
    found = await asyncio.to_thread(train, plan_strategy(name, options), grid, base, ORDER)

    wanted, arrays = expected(replies), Arrays(found.arrays)
    assert list(arrays) == list(base)
    for tensor, array in arrays.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, wanted[tensor], rtol=0, atol=2e-7)
        assert not np.array_equal(array, base[tensor])
    assert (found.agents, found.examples) == (tuple(sorted(agents, key=node_id)), sum(40 + 20 * i for i in range(5)))
    assert grid.traffic.bytes_up == sum(grid.traffic.bytes_up_by_agent.values()) > 0
    assert grid.traffic.messages_down == grid.traffic.messages_up == 5
    assert grid.refused == []


def adding(step: float, examples: int = 10) -> Answer:
    """An agent that adds a number to every weight."""

    async def answer(order: TaskOrder) -> bytes:
        arrays = Arrays(decode_content(order.content).arrays["arrays"])
        moved: Arrays = {name: (array + np.float32(step)).astype(array.dtype) for name, array in arrays.items()}
        return encode_content(
            TaskContent({"arrays": moved}, {"metrics": {"num-examples": examples, "train-loss": 1.0}})
        )

    return answer


def sending(content: bytes) -> Answer:
    async def answer(_: TaskOrder) -> bytes:
        return content

    return answer


def update(value: float, shape: tuple[int, ...] = (2,), examples: int = 10) -> bytes:
    arrays: Arrays = {"w": np.full(shape, value, np.float32)}
    return encode_content(TaskContent({"arrays": arrays}, {"metrics": {"num-examples": examples, "train-loss": 1.0}}))


BASE = {"w": np.zeros(2, np.float32)}


async def run(fleet: MemoryFleet, grid: SessionGrid, name: str = "fedavg", **options: float) -> Aggregate:
    return await asyncio.to_thread(train, plan_strategy(name, options), grid, BASE, ORDER)


@pytest.mark.parametrize("name", sorted(KINDS))
async def test_every_strategy_runs_unmodified(fleet: MemoryFleet, name: str) -> None:
    agents = tuple(f"a{index}" for index in range(7))
    for index, agent in enumerate(agents):
        fleet.join(agent, adding(float(index)), model=MODEL)
    found = await run(fleet, grid_of(fleet, agents, BASE), name)
    assert found.arrays["w"].dtype == np.float32
    assert 0.0 <= float(found.arrays["w"][0]) <= 6.0


async def test_liars_are_refused_and_named_and_change_nothing(fleet: MemoryFleet) -> None:
    fleet.join("honest-1", adding(1.0), model=MODEL)
    fleet.join("honest-2", adding(3.0), model=MODEL)
    fleet.join("nan", sending(update(float("nan"))), model=MODEL)
    fleet.join("shape", sending(update(1.0, (3,))), model=MODEL)
    fleet.join("vote", sending(update(100.0, examples=10**9)), model=MODEL)
    fleet.join("noise", sending(b"\xff" * 40), model=MODEL)
    fleet.join("empty", sending(b""), model=MODEL)

    async def broken(_: TaskOrder) -> bytes:
        raise RuntimeError("out of memory")

    fleet.join("error", broken, model=MODEL)
    agents = ("honest-1", "honest-2", "nan", "shape", "vote", "noise", "empty", "error", "absent")
    grid = grid_of(fleet, agents, BASE)
    found = await run(fleet, grid)
    assert found.arrays["w"].tolist() == [2.0, 2.0]
    assert set(found.agents) == {"honest-1", "honest-2"}
    assert {refusal.agent_id: refusal.rule for refusal in grid.refused} == {
        "nan": "finite",
        "shape": "shape",
        "vote": "examples",
        "noise": "unreadable",
        "empty": "unreadable",
        "error": "error",
        "absent": "error",
    }
    assert any("out of memory" in refusal.reason for refusal in grid.refused)


async def test_too_few_good_replies_miss_the_quorum(fleet: MemoryFleet) -> None:
    fleet.join("honest", adding(1.0), model=MODEL)
    fleet.join("nan", sending(update(float("nan"))), model=MODEL)
    with pytest.raises(QuorumMissed, match=r"1 usable replies, 2 needed \(nan: finite"):
        await run(fleet, grid_of(fleet, ("honest", "nan"), BASE, quorum=2))


async def test_who_is_late_is_not_waited_for(fleet: MemoryFleet) -> None:
    never = asyncio.Event()

    async def silent(_: TaskOrder) -> bytes:
        await never.wait()
        return b""

    fleet.join("a", adding(1.0), model=MODEL)
    fleet.join("b", adding(3.0), model=MODEL)
    fleet.join("late", silent, model=MODEL)
    grid = grid_of(fleet, ("a", "b", "late"), BASE, quorum=2, straggler_s=0.01)
    found = await run(fleet, grid)
    assert found.arrays["w"].tolist() == [2.0, 2.0]
    (refusal,) = grid.refused
    assert (refusal.agent_id, refusal.rule) == ("late", "error")
    assert "after the quorum" in refusal.reason

    alone = grid_of(fleet, ("late",), BASE, deadline_s=0.01)
    with pytest.raises(QuorumMissed, match="no answer in time"):
        await run(fleet, alone)


async def test_an_agent_that_leaves_while_it_works_is_an_error_reply(fleet: MemoryFleet) -> None:
    begun = asyncio.Event()

    async def working(_: TaskOrder) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return b""

    fleet.join("a", adding(1.0), model=MODEL)
    fleet.join("leaver", working, model=MODEL)
    grid = grid_of(fleet, ("a", "leaver"), BASE)
    async with asyncio.TaskGroup() as group:
        training = group.create_task(run(fleet, grid))
        await begun.wait()
        fleet.leave("leaver")
    assert training.result().agents == ("a",)
    assert [str(refusal) for refusal in grid.refused] == ["leaver: error: the session ended"]


async def test_a_grid_can_be_abandoned_from_the_loop(fleet: MemoryFleet) -> None:
    begun = asyncio.Event()

    async def working(_: TaskOrder) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return b""

    fleet.join("a", working, model=MODEL)
    grid = grid_of(fleet, ("a",), BASE)

    async def abandoned() -> None:
        with pytest.raises(Abandoned):
            await run(fleet, grid)

    async with asyncio.TaskGroup() as group:
        group.create_task(abandoned())
        await begun.wait()
        grid.abandon()
    # And it stays so: whoever calls it later is told at once.
    await abandoned()


async def test_the_same_replies_in_any_order_give_the_same_bits(fleet: MemoryFleet) -> None:
    agents = tuple(f"a{index}" for index in range(6))
    results: list[bytes] = []
    for turn in range(2):
        gates = [asyncio.Event() for _ in agents]

        def waiting(index: int, gates: list[asyncio.Event] = gates, turn: int = turn) -> Answer:
            async def answer(order: TaskOrder) -> bytes:
                # Each agent waits for its neighbour: forwards in the first turn, backwards in the second.
                before = index - 1 if turn == 0 else index + 1
                if 0 <= before < len(gates):
                    await gates[before].wait()
                gates[index].set()
                return await adding(0.1 * (index + 1), 7 + index)(order)

            return answer

        for index, agent in enumerate(agents):
            fleet.join(agent, waiting(index), model=MODEL)
        found = await run(fleet, grid_of(fleet, agents, BASE))
        results.append(found.arrays["w"].tobytes())
    assert results[0] == results[1]


async def test_two_runs_in_one_process_do_not_mix(fleet: MemoryFleet) -> None:
    seen: dict[str, set[tuple[str, str, int]]] = {"run-1": set(), "run-2": set()}

    async def note(order: TaskOrder) -> bytes:
        seen[order.run_id].add((order.task_id, order.kind.value, order.round))
        return await adding(1.0)(order)

    for agent in ("a", "b"):
        fleet.join(agent, note, model=MODEL)
    loop, clock = asyncio.get_running_loop(), SystemClock()
    limits = Patience(1, 20.0, 20.0)
    grids = [
        SessionGrid(Roster(run_id, number, ("a", "b"), limits), fleet, loop, clock, gate_for(BASE, 1000))
        for run_id, number in (("run-1", 3), ("run-2", 7))
    ]
    await asyncio.gather(*(run(fleet, grid) for grid in grids))
    assert seen["run-1"] == {(f"run-1/3/train/{agent}", "train", 3) for agent in ("a", "b")}
    assert seen["run-2"] == {(f"run-2/7/train/{agent}", "train", 7) for agent in ("a", "b")}
    assert grids[0].run.run_id != grids[1].run.run_id


async def test_messages_of_one_round_share_nothing(fleet: MemoryFleet) -> None:
    grid = grid_of(fleet, ("a", "b"), None)
    strategy = plan_strategy("fedavg", {}).build()
    messages = list(strategy.configure_train(1, to_array_record(BASE), ConfigRecord(dict(CONFIG)), grid))
    assert messages[0].content is messages[1].content, "Flower shares one record; if not, the copy can go"
    contents: list[bytes] = []

    async def note(order: TaskOrder) -> bytes:
        contents.append(order.content)
        return await adding(1.0)(order)

    for agent in ("a", "b"):
        fleet.join(agent, note, model=MODEL)
    replies = list(await asyncio.to_thread(grid.send_and_receive, messages))
    replies[0].content.array_records["arrays"].pop("w")
    assert from_array_record(replies[1].content.array_records["arrays"])["w"].tolist() == [1.0, 1.0]
    assert contents[0] == contents[1]


async def test_evaluation_counts_are_added_up(start: Bundle, fleet: MemoryFleet) -> None:
    base = trainable_of(start)
    for index in range(3):
        fleet.join(f"a{index}", trainer(start, rows(index, 50)), model=MODEL)
    grid = grid_of(fleet, ("a0", "a1", "a2"), base)
    order = TrainingOrder(1, CONFIG, evaluate=True)
    found = await asyncio.to_thread(train, plan_strategy("fedavg", {}), grid, base, order)
    assert found.evaluation == {"eval-loss": 0.5, "fn": 12.0, "fp": 6.0, "num-examples": 150.0, "tn": 9.0, "tp": 3.0}


async def test_misuse_is_an_error_not_a_hang(fleet: MemoryFleet) -> None:
    grid = grid_of(fleet, (), BASE)
    with pytest.raises(NoNodes):
        await run(fleet, grid)
    fleet.join("a", adding(1.0), model=MODEL)
    grid = grid_of(fleet, ("a",), BASE)
    strategy = plan_strategy("fedavg", {}).build()
    messages = list(strategy.configure_train(1, to_array_record(BASE), ConfigRecord(dict(CONFIG)), grid))
    with pytest.raises(InternalError, match="event loop"):
        grid.send_and_receive(messages)
    stranger = grid.create_message(messages[0].content, "train", 12345, "1")
    with pytest.raises(InternalError, match="unknown"):
        await asyncio.to_thread(grid.send_and_receive, [stranger])
    assert list(grid.send_and_receive([])) == []
    with pytest.raises(InternalError, match="use send_and_receive"):
        grid.push_messages([])


def test_what_a_strategy_makes_is_cast_back_or_refused() -> None:
    cast = cast_back({"w": np.array([1.0, 2.0], np.float64)}, BASE)
    assert cast["w"].dtype == np.float32
    wrongs: list[Arrays] = [{"v": np.zeros(2)}, {"w": np.zeros(3)}, {"w": np.array([1.0, np.nan])}]
    for wrong in wrongs:
        with pytest.raises(NothingAggregated):
            cast_back(wrong, BASE)
