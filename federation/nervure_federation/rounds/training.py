"""One strategy step over one grid: the synchronous part of a hub's round. Runs in a worker thread.

Order: configure_train -> exchange -> gatekeeper (in the grid) -> aggregate_train -> cast to the manifest's dtypes, and
with ``evaluate`` the same again with configure_evaluate and aggregate_evaluate. Only the strategy's own four methods are
called, never ``start()``.

>>> outcome = train(plan_strategy("fedavg", {}), grid, base_arrays, TrainingOrder(...))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nervure_core.errors import PeerError
from nervure_core.messages import TaskKind, TaskOrder
from nervure_core.tensors import Arrays, ConfigValue
from nervure_federation.flower import (
    ConfigRecord,
    Message,
    MetricRecord,
    Strategy,
    from_array_record,
    to_array_record,
)
from nervure_federation.gatekeeper import EXAMPLES, Rules, Sifted, TensorRule, Update, sift
from nervure_federation.grid import ARRAYS, METRICS, Gate, QuorumMissed, SessionGrid
from nervure_federation.strategies import StrategyPlan, plan_strategy


class NothingAggregated(PeerError):
    """A strategy gave no weights back, or weights that can't be used."""

    code = "nothing-aggregated"


@dataclass(frozen=True, slots=True)
class TrainingOrder:
    """What the agents of one round are told.

    Args:
        round_number: The round.
        config: Settings for the agents' trainers.
        evaluate: Let them score the aggregate afterwards.
    """

    round_number: int
    config: Mapping[str, ConfigValue]
    evaluate: bool = False


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What one hub's agents brought together."""

    arrays: Arrays
    agents: tuple[str, ...]
    examples: int
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    evaluation: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class Alone:
    """What one agent learned by itself."""

    agent: str
    arrays: Arrays
    examples: int


def gate_for(arrays: Mapping[str, NDArray[np.generic]], max_examples: int) -> Gate:
    """Return the gate for updates of these tensors; evaluations bring none and are held to their metrics alone."""
    tensors = {name: TensorRule(array.shape, array.dtype.name) for name, array in arrays.items()}

    def gate(updates: Sequence[Update], orders: Mapping[str, TaskOrder]) -> Sifted:
        trained = all(order.kind is TaskKind.TRAIN for order in orders.values())
        ids = {agent: order.task_id for agent, order in orders.items()}
        return sift(updates, Rules(tensors if trained else {}, ids, max_examples))

    return gate


def train(
    plan: StrategyPlan, grid: SessionGrid, arrays: Mapping[str, NDArray[np.generic]], order: TrainingOrder
) -> Aggregate:
    """Train the grid's agents from ``arrays`` and aggregate what they bring.

    Args:
        plan: The strategy.
        grid: The round's grid; its traffic and refusals hold afterwards what was counted, also when this raises.
        arrays: The trainable tensors; the aggregate has the same names, shapes and dtypes.
        order: What the agents are told.

    Raises:
        QuorumMissed: Too few usable updates.
        NothingAggregated: The strategy gave nothing back, or something that is not finite or of another shape.
        Abandoned: The grid was told to stop.
    """
    strategy = plan.build()
    record = to_array_record(arrays)
    config = ConfigRecord(dict(order.config))
    replies = list(grid.send_and_receive(strategy.configure_train(order.round_number, record, config, grid)))
    # Before aggregation: some strategies take the arrays out of the replies they are given.
    agents = tuple(grid.agent_of(reply) for reply in replies)
    examples = sum(_examples(reply) for reply in replies)
    aggregated, metrics = strategy.aggregate_train(order.round_number, replies)
    if aggregated is None:
        raise NothingAggregated(f"{plan.name} made nothing of {len(replies)} updates")
    result = cast_back(from_array_record(aggregated), arrays)
    evaluation = _evaluate(strategy, grid, result, order) if order.evaluate else {}
    return Aggregate(result, agents, examples, _numbers(metrics), evaluation)


def train_alone(grid: SessionGrid, arrays: Mapping[str, NDArray[np.generic]], order: TrainingOrder) -> list[Alone]:
    """Train each agent of the grid from ``arrays`` by itself, and aggregate nothing.

    Raises:
        QuorumMissed: Too few usable updates.
        Abandoned: The grid was told to stop.
    """
    strategy = plan_strategy("fedavg", {}).build()
    config = ConfigRecord(dict(order.config))
    messages = strategy.configure_train(order.round_number, to_array_record(arrays), config, grid)
    return [
        Alone(grid.agent_of(reply), from_array_record(reply.content.array_records[ARRAYS]), _examples(reply))
        for reply in grid.send_and_receive(messages)
    ]


def cast_back(result: Arrays, like: Mapping[str, NDArray[np.generic]]) -> Arrays:
    """Return the tensors in the dtypes and order of ``like``; some strategies answer in float64.

    Raises:
        NothingAggregated: Names or shapes differ, or a value is not finite.
    """
    if result.keys() != like.keys():
        raise NothingAggregated(f"the strategy changed the tensors: {sorted(result.keys() ^ like.keys())[:5]}")
    cast: Arrays = {}
    for name, wanted in like.items():
        array = result[name].astype(wanted.dtype)
        if array.shape != wanted.shape:
            raise NothingAggregated(f"the strategy made tensor {name!r} {array.shape}, not {wanted.shape}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise NothingAggregated(f"the strategy made tensor {name!r} infinite or no number")
        cast[name] = array
    return cast


def _evaluate(strategy: Strategy, grid: SessionGrid, arrays: Arrays, order: TrainingOrder) -> dict[str, float]:
    config = ConfigRecord(dict(order.config))
    messages = strategy.configure_evaluate(order.round_number, to_array_record(arrays), config, grid)
    try:
        replies = list(grid.send_and_receive(messages))
    except QuorumMissed:
        # The aggregate stands without it: evaluation on the agents informs, the judge decides.
        return {}
    return _numbers(strategy.aggregate_evaluate(order.round_number, replies))


def _examples(reply: Message) -> int:
    return int(_number(reply.content.metric_records[METRICS][EXAMPLES]))


def _numbers(metrics: MetricRecord | None) -> dict[str, float]:
    return {name: _number(value) for name, value in (metrics or {}).items() if not isinstance(value, list)}


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
