"""The runs as the coordination store holds them at one moment, read from its keys; pure.

>>> ledger = read_ledger(state)
>>> ledger["run-1"].rounds[3].phase
<Phase.JUDGED: 'judged'>
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from nervure_federation.rounds.phases import OPEN_TO_HUBS
from nervure_federation.rounds.records import (
    LOCAL_ROUND,
    PREFIX,
    Contribution,
    ModelRef,
    Participant,
    RoundRecord,
    RunRecord,
    RunStatus,
    Scores,
)
from nervure_hub.coordination import KeyValue

_log = logging.getLogger(__name__)

Record = TypeVar("Record", bound=BaseModel)


@dataclass(slots=True)
class Run:
    """Everything the store holds of one run."""

    run_id: str
    record: RunRecord | None = None
    status: RunStatus | None = None
    rounds: dict[int, RoundRecord] = field(default_factory=dict[int, RoundRecord])
    contributions: dict[int, list[Contribution]] = field(default_factory=dict[int, list[Contribution]])

    @property
    def ended(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.status is not None and self.status.ended

    def has_from(self, number: int, participant: Participant) -> bool:
        """Whether a hub has contributed to a round."""
        return any(
            (found.region, found.hub_id) == (participant.region, participant.hub_id)
            for found in self.contributions.get(number, ())
        )

    def federated(self) -> list[RoundRecord]:
        """Return the federated rounds in order."""
        return [self.rounds[number] for number in sorted(self.rounds) if number != LOCAL_ROUND]

    def model_in_force(self) -> tuple[ModelRef | None, Scores | None]:
        """Return the model that the next round starts from and what the judge found of it.

        That is the candidate of the last published round, or the model that the run began with.
        """
        for record in reversed(self.federated()):
            if record.phase == "published":
                name = record.base.name
                return ModelRef(name=name, release=record.release, bundle_id=record.bundle_id), record.scores
        return (self.status.base, self.status.initial) if self.status else (None, None)

    def failures_in_a_row(self) -> int:
        """Return how many of the last federated rounds failed without one that did not."""
        count = 0
        for record in reversed(self.federated()):
            if record.phase != "failed":
                break
            count += 1
        return count


def read_ledger(state: Mapping[str, KeyValue] | Iterable[KeyValue]) -> dict[str, Run]:
    """Read all runs from the store's keys; a record that can't be read is logged and left out."""
    entries = state.values() if isinstance(state, Mapping) else state
    runs: dict[str, Run] = {}
    for entry in entries:
        run_id, _, rest = entry.key.removeprefix(PREFIX).partition("/")
        run = runs.setdefault(run_id, Run(run_id))
        match rest.split("/"):
            case ["spec"]:
                run.record = _read(RunRecord, entry)
            case ["status"]:
                run.status = _read(RunStatus, entry)
            case ["rounds", number] if number.isdigit():
                if (record := _read(RoundRecord, entry)) is not None:
                    run.rounds[int(number)] = record
            case ["rounds", number, "regions", _, _] if number.isdigit():
                if (contribution := _read(Contribution, entry)) is not None:
                    run.contributions.setdefault(int(number), []).append(contribution)
            case _:
                _log.warning("unknown key among the runs: %s", entry.key)
    return {run_id: run for run_id, run in runs.items() if run.record is not None}


def work_for(ledger: Mapping[str, Run], me: Participant) -> dict[tuple[str, int], RoundRecord]:
    """Return the rounds that a hub should be training its agents for now."""
    return {
        (run.run_id, number): record
        for run in ledger.values()
        if not run.ended
        for number, record in run.rounds.items()
        if record.phase in OPEN_TO_HUBS and me in record.participants and not run.has_from(number, me)
    }


def read_contributions(state: Mapping[str, KeyValue]) -> tuple[Contribution, ...]:
    """Read the contributions to one round from its keys."""
    found = (_read(Contribution, entry) for entry in state.values())
    return tuple(contribution for contribution in found if contribution is not None)


def _read(kind: type[Record], entry: KeyValue) -> Record | None:
    try:
        return kind.model_validate_json(entry.value)
    except ValidationError as error:
        _log.warning("%s: not a %s: %s", entry.key, kind.__name__, error)
        return None
