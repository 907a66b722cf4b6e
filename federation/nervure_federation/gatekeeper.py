"""The gatekeeper: what must hold of an agent's update before a strategy may see it. Flower itself checks nothing.

Laws, in the order in which they are tried; the first that is broken names the refusal:

1. ``duplicate``   one update per agent and round; the first counts.
2. ``wrong-round`` it answers the order that this agent was given in this round, and no other.
3. ``keys``        exactly the tensors that were sent out, no more, no fewer.
4. ``shape``       each with the shape of the manifest.
5. ``dtype``       each a floating type (where the manifest says so) that can be cast back to the manifest's dtype.
6. ``finite``      no NaN and no infinity, neither before nor after the cast.
7. ``examples``    ``num-examples`` is there, a whole positive number and not over the cap: it is a vote.
8. ``metrics``     every other metric that is kept is one finite number.

What passes is cast to the manifest's dtypes and carries only the metrics that all accepted updates have, in the order of
the agents' names: equal inputs give equal sums, whatever the order of arrival. Everything is a pure function on plain
data; each refusal names the agent and the reason.

>>> rules = Rules(tensors={"w": TensorRule((2,), "float32")}, orders={"cam-1": "run-1/4"})
>>> update = Update("cam-1", "run-1/4", {"w": np.array([0.0, np.nan], np.float32)}, {"num-examples": 8})
>>> print(sift([update], rules).refused[0])
cam-1: finite: tensor 'w' holds 1 value that is no finite number
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nervure_core.tensors import Arrays, MetricValue

EXAMPLES = "num-examples"
"""The metric that says how many examples an update was trained on."""


@dataclass(frozen=True, slots=True)
class TensorRule:
    """The shape and dtype that the manifest gives a tensor."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What the updates of one round are held against.

    Args:
        tensors: The tensors that were sent out for training.
        orders: The id of the order that each agent was given in this round.
        max_examples: The largest ``num-examples`` that is believed.
    """

    tensors: Mapping[str, TensorRule]
    orders: Mapping[str, str]
    max_examples: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Update:
    """One agent's answer to a training order, decoded."""

    agent_id: str
    task_id: str
    arrays: Arrays
    metrics: Mapping[str, MetricValue]

    @property
    def examples(self) -> int:
        """How many examples stand behind it; only meaningful once it has been let through."""
        value = self.metrics[EXAMPLES]
        assert isinstance(value, int | float)
        return int(value)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An agent whose answer does not count, and why."""

    agent_id: str
    rule: str
    reason: str

    def __str__(self) -> str:
        return f"{self.agent_id}: {self.rule}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Sifted:
    """What was let through, sorted by agent, and what was not."""

    accepted: tuple[Update, ...] = ()
    refused: tuple[Refusal, ...] = field(default=())


def sift(updates: Iterable[Update], rules: Rules) -> Sifted:
    """Split updates into those a strategy may see and those it may not."""
    seen: set[str] = set()
    accepted: list[Update] = []
    refused: list[Refusal] = []
    for update in updates:
        if update.agent_id in seen:
            refused.append(Refusal(update.agent_id, "duplicate", "a second update in the same round"))
            continue
        seen.add(update.agent_id)
        outcome = admit(update, rules)
        if isinstance(outcome, Refusal):
            refused.append(outcome)
        else:
            accepted.append(outcome)
    accepted.sort(key=lambda update: update.agent_id)
    refused.sort(key=lambda refusal: (refusal.agent_id, refusal.rule))
    return Sifted(_with_common_metrics(accepted), tuple(refused))


def admit(update: Update, rules: Rules) -> Update | Refusal:
    """Hold one update against the rules; returns it cast to the manifest's dtypes, or the refusal."""

    def refuse(rule: str, reason: str) -> Refusal:
        return Refusal(update.agent_id, rule, reason)

    ordered = rules.orders.get(update.agent_id)
    if ordered is None:
        return refuse("wrong-round", "was given no order in this round")
    if update.task_id != ordered:
        return refuse("wrong-round", f"answers order {update.task_id!r}, not {ordered!r}")
    if (missing := sorted(rules.tensors.keys() - update.arrays.keys())) or update.arrays.keys() - rules.tensors.keys():
        extra = sorted(update.arrays.keys() - rules.tensors.keys())
        return refuse("keys", f"missing tensors {missing[:5]}, unknown tensors {extra[:5]}")
    cast: Arrays = {}
    for name, rule in rules.tensors.items():
        outcome = _admit_tensor(name, update.arrays[name], rule)
        if isinstance(outcome, tuple):
            return refuse(*outcome)
        cast[name] = outcome
    broken = _check_metrics(update.metrics, rules.max_examples)
    return refuse(*broken) if broken else replace(update, arrays=cast)


def _admit_tensor(name: str, array: NDArray[np.generic], rule: TensorRule) -> NDArray[np.generic] | tuple[str, str]:
    if tuple(array.shape) != rule.shape:
        return "shape", f"tensor {name!r} has shape {tuple(array.shape)}, not {rule.shape}"
    wanted = np.dtype(rule.dtype)
    # Same kind only: float64 may come back as float32; text, objects or complex numbers may not.
    if not np.can_cast(array.dtype, wanted, casting="same_kind"):
        return "dtype", f"tensor {name!r} is {array.dtype}, not {rule.dtype}"
    with np.errstate(over="ignore", invalid="ignore"):
        cast = np.ascontiguousarray(array, dtype=wanted).reshape(rule.shape)
    if np.issubdtype(wanted, np.floating):
        # After the cast: a float64 that overflows float32 would poison the sum just the same.
        bad = int(cast.size - np.count_nonzero(np.isfinite(cast)))
        if bad:
            noun = "value that is" if bad == 1 else "values that are"
            return "finite", f"tensor {name!r} holds {bad} {noun} no finite number"
    return cast


def _check_metrics(metrics: Mapping[str, MetricValue], max_examples: int) -> tuple[str, str] | None:
    examples = metrics.get(EXAMPLES)
    if isinstance(examples, bool) or not isinstance(examples, int | float):
        return "examples", f"{EXAMPLES} is missing or no number"
    if not math.isfinite(examples) or examples != int(examples) or examples < 1:
        return "examples", f"{EXAMPLES} is {examples}, not a whole positive number"
    if examples > max_examples:
        return "examples", f"{EXAMPLES} is {examples}, over the cap of {max_examples}"
    for name, value in metrics.items():
        if isinstance(value, int | float) and not math.isfinite(value):
            return "metrics", f"{name} is {value}, no finite number"
    return None


def _with_common_metrics(updates: Sequence[Update]) -> tuple[Update, ...]:
    # One reply with other metric keys raises out of Flower's aggregation, and lists of unequal length do too.
    if not updates:
        return ()
    common = set.intersection(
        *({name for name, value in update.metrics.items() if isinstance(value, int | float)} for update in updates)
    )
    names = sorted(common)
    return tuple(replace(update, metrics={name: update.metrics[name] for name in names}) for update in updates)
