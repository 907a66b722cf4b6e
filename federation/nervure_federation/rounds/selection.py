"""Which agents of a hub take part in a round; pure and repeatable.

Rules: an agent is eligible when its session lives, it can train, it runs the model, and it holds enough examples. The
choice among the eligible is drawn from (seed, run, round, hub), never from the global random state, so a hub that starts
a round again asks the same agents.

>>> choose(["c", "a", "b"], fraction=0.5, at_least=1, at_most=10, key="0/run-1/1/eu")
('b',)
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence

from nervure_federation.rounds.records import Participant, RoundRecord
from nervure_federation.rounds.spec import RunSpec
from nervure_hub.context import AgentRecord


def eligible(agents: Iterable[AgentRecord], spec: RunSpec) -> list[str]:
    """Return the ids of the agents that may train, in order.

    An agent that still runs an older release counts: the order brings the weights, and the training graph is the same.
    """
    return sorted(
        agent.agent_id
        for agent in agents
        if agent.state == "live"
        and agent.can_train
        and agent.running.name == spec.model
        and _examples(agent) >= spec.min_examples
    )


def _examples(agent: AgentRecord) -> int:
    # The heartbeat is newer than the greeting; either may be missing or zero.
    return max(agent.examples, agent.status.examples if agent.status is not None else 0)


def select(candidates: Sequence[str], spec: RunSpec, record: RoundRecord, me: Participant) -> tuple[str, ...]:
    """Return the agents that this hub asks in this round, in order."""
    return choose(
        candidates,
        # What agents reach alone is a mean over agents: leaving some out would make it another number each time.
        fraction=1.0 if record.kind == "local" else spec.fraction,
        at_least=spec.min_agents,
        at_most=spec.max_agents,
        key=f"{spec.seed}/{record.run_id}/{record.round}/{me}",
    )


def choose(candidates: Sequence[str], *, fraction: float, at_least: int, at_most: int, key: str) -> tuple[str, ...]:
    """Draw a share of the candidates.

    Args:
        candidates: Ids, in any order.
        fraction: Share to draw, over 0 and up to 1.
        at_least: Draw so many even where the share is smaller, as far as there are any.
        at_most: Draw no more.
        key: Equal keys draw equal sets from equal candidates.
    """
    wanted = max(math.floor(len(candidates) * fraction), at_least)
    count = min(wanted, at_most, len(candidates))
    return tuple(sorted(random.Random(key).sample(sorted(candidates), count)))


def quorum_of(selected: int, spec: RunSpec) -> int:
    """Return how many good replies are enough, never fewer than a robust strategy needs."""
    return max(math.ceil(selected * spec.quorum), spec.plan().replies_needed, 1)
