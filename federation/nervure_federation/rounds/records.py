"""What the coordination store holds of runs: its keys, and the records behind them.

    /nervure/runs/{run}/spec                                   RunRecord      written once, by whoever submits
    /nervure/runs/{run}/status                                 RunStatus      by the leader, fenced
    /nervure/runs/{run}/rounds/{number}                        RoundRecord    by the leader, fenced
    /nervure/runs/{run}/rounds/{number}/regions/{region}/{hub} Contribution   once, by the hub that it is from

Rules: records are small (weights are in the object store, by the hash of their content); numbers are counted where they
happen; a reader ignores fields it does not know, so hubs of two versions can share a run. Round 0 is the local-only
baseline, rounds from 1 on are federated.

>>> round_key("run-1", 3)
'/nervure/runs/run-1/rounds/000003'
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from nervure_federation.rounds.phases import FINAL, Phase
from nervure_federation.rounds.spec import RunSpec

PREFIX = "/nervure/runs/"
LOCAL_ROUND = 0
"""The number of the local-only baseline."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_bytes(self) -> bytes:
        """Return the record as it is stored."""
        return self.model_dump_json().encode()


class RunState(StrEnum):
    """Where a run stands."""

    WAITING = "waiting"
    """No leader has begun with it."""
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class ModelRef(_Record):
    """One release of a model."""

    name: str
    release: int
    bundle_id: str


class SiteCounts(_Record):
    """What the judge counted at one site."""

    tp: int = 0
    fp: int = 0
    tn: int = 0
    fn: int = 0
    broken: int = 0
    """Flows for which the model gave no finite score."""


class Scores(_Record):
    """What the judge found of one model on held-out traffic; rates from 0 to 1."""

    accuracy: float
    f1: float
    fpr: float
    worst_site: str = ""
    worst_site_fpr: float = 0.0
    sites: dict[str, SiteCounts] = Field(default_factory=dict)
    """By ``region/site``."""


class Participant(_Record):
    """A hub that takes part in a round."""

    region: str
    hub_id: str

    def __str__(self) -> str:
        return f"{self.region}/{self.hub_id}"


class Refused(_Record):
    """An agent whose answer did not count, and why."""

    agent: str
    rule: str
    reason: str


class LocalScore(_Record):
    """What one agent reaches when it learns alone."""

    agent: str
    examples: int
    scores: Scores


class Contribution(_Record):
    """What one hub brings to a round."""

    region: str
    hub_id: str
    state: Literal["done", "abstained", "failed"]
    reason: str = ""
    weights_key: str = ""
    """The aggregate in the object store, empty unless done."""
    examples: int = 0
    selected: int = 0
    agents: tuple[str, ...] = ()
    """Those whose updates are in the aggregate."""
    refused: tuple[Refused, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)
    """The strategy's aggregated training metrics."""
    evaluation: dict[str, float] = Field(default_factory=dict)
    bytes_up: int = 0
    bytes_down: int = 0
    """Contents that went through the agents' sessions."""
    replies: int = 0
    duration_s: float = 0.0
    local: tuple[LocalScore, ...] = ()
    """Only of the local-only baseline."""


class RegionShare(_Record):
    """What a region brought to a finished round."""

    agents: int
    examples: int
    duration_s: float
    train_loss: float | None = None
    refused: int = 0


class RoundRecord(_Record):
    """One round, as far as it has come."""

    run_id: str
    round: int
    kind: Literal["federated", "local"] = "federated"
    phase: Phase
    base: ModelRef
    """The model that the round starts from."""
    participants: tuple[Participant, ...]
    started_at_s: float
    """Wall clock of the leader that began it."""
    duration_s: float = 0.0
    region_updates: int = 0
    """How many regional aggregates the candidate is made of."""
    regions: dict[str, RegionShare] = Field(default_factory=dict)
    absent: tuple[str, ...] = ()
    """Participants that brought nothing, each with the reason."""
    agents: int = 0
    examples: int = 0
    refused: tuple[Refused, ...] = ()
    bytes_up_per_agent: float = 0.0
    """Mean size of the contents that agents sent back."""
    bytes_up: int = 0
    bytes_down: int = 0
    candidate_key: str = ""
    """The candidate's weights in the object store."""
    scores: Scores | None = None
    """What the judge found of the candidate; None before, and where nobody judges."""
    accepted: bool = False
    reason: str = ""
    release: int = 0
    """The release that the candidate will be or has become."""
    bundle_id: str = ""

    @property
    def final(self) -> bool:
        """Whether it will never change again."""
        return self.phase in FINAL


class LocalOnly(_Record):
    """What agents reach alone, over all agents that were trained alone."""

    agents: int
    accuracy_mean: float
    f1_mean: float
    f1_min: float
    f1_max: float
    fpr_mean: float


class RunRecord(_Record):
    """A run as it was asked for."""

    run_id: str
    spec: RunSpec
    submitted_at_s: float
    submitted_in: str = ""
    """The region whose API took it."""


class RunStatus(_Record):
    """Where a run stands; what is in its rounds is not repeated here."""

    run_id: str
    state: RunState = RunState.WAITING
    message: str = ""
    leader: str = ""
    """Hub that wrote this."""
    epoch: int = 0
    round: int = 0
    """The round under way, or the last one."""
    base: ModelRef | None = None
    """The model that the run started from."""
    current: ModelRef | None = None
    """The model that is in force now."""
    initial: Scores | None = None
    latest: Scores | None = None
    local_only: LocalOnly | None = None
    started_at_s: float = 0.0
    finished_at_s: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether nothing will happen any more."""
        return self.state in (RunState.FINISHED, RunState.FAILED)


def spec_key(run_id: str) -> str:
    """Return the key of a run's RunRecord."""
    return f"{PREFIX}{run_id}/spec"


def status_key(run_id: str) -> str:
    """Return the key of a run's RunStatus."""
    return f"{PREFIX}{run_id}/status"


def rounds_prefix(run_id: str) -> str:
    """Return what the keys of all of a run's rounds begin with."""
    return f"{PREFIX}{run_id}/rounds/"


def round_key(run_id: str, number: int) -> str:
    """Return the key of a RoundRecord."""
    return f"{rounds_prefix(run_id)}{number:06d}"


def contributions_prefix(run_id: str, number: int) -> str:
    """Return what the keys of all contributions to a round begin with."""
    return f"{round_key(run_id, number)}/regions/"


def contribution_key(run_id: str, number: int, participant: Participant) -> str:
    """Return the key of one hub's Contribution."""
    return f"{contributions_prefix(run_id, number)}{participant.region}/{participant.hub_id}"
