"""Which agent runs what: desired state as plain data, and the one function that resolves it.

Rules
    1. A deployment says which release of one model its selector's agents run, in which slot. One deployment a model.
    2. A selector's parts must all hold (labels: each one equal; regions, agents: one of them); an empty part selects all.
    3. A model for a workload is never given to an agent with another one.
    4. Where several deployments of one slot select an agent, the one written last wins.
    5. ``Desired.generation`` is the revision of the last change of any deployment: it grows, and tells a newer
       ``Desired`` from an older one. A withdrawn deployment stays as a record, so that it can't go back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nervure_core.bundle.manifest import Name, Sha256
from nervure_core.errors import WorldError
from nervure_core.messages import Assignment, Desired
from nervure_core.validation import first_problem

SLOT = "default"


class Selector(BaseModel):
    """Which agents."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: dict[str, str] = Field(default_factory=dict, max_length=32)
    regions: tuple[str, ...] = ()
    """Regions that agents belong to, wherever they are connected."""
    agents: tuple[str, ...] = ()


class Deployment(BaseModel):
    """What is desired of one model. Fields of later versions are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Name
    release: int = Field(ge=1)
    bundle_id: Sha256
    workload: str = ""
    """Workload of the agents it is for; empty: any."""
    slot: str = SLOT
    selector: Selector = Selector()
    generation: int = Field(default=1, ge=1)
    """Counts the writes of this deployment."""
    withdrawn: bool = False
    revision: int = Field(default=0, exclude=True)
    """Of its key in coordination; not part of the record."""

    def to_bytes(self) -> bytes:
        """Return the value of its key."""
        return self.model_dump_json().encode()

    @classmethod
    def from_bytes(cls, key: str, value: bytes, revision: int) -> Deployment:
        """Return what ``to_bytes`` wrote.

        Raises:
            WorldError: The value is none of ours.
        """
        try:
            return cls.model_validate_json(value).model_copy(update={"revision": revision})
        except ValidationError as error:
            raise WorldError(f"coordination key {key} holds no deployment: {first_problem(error)}") from error


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What a selector may look at."""

    agent_id: str
    region: str
    workload: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


def selects(deployment: Deployment, agent: AgentFacts) -> bool:
    """Return whether a deployment is for an agent."""
    selector = deployment.selector
    return (
        not deployment.withdrawn
        and deployment.workload in ("", agent.workload)
        and (not selector.regions or agent.region in selector.regions)
        and (not selector.agents or agent.agent_id in selector.agents)
        and all(agent.labels.get(label) == value for label, value in selector.labels.items())
    )


def resolve(deployments: Iterable[Deployment], agent: AgentFacts) -> Desired:
    """Return what an agent shall run."""
    generation = 0
    winners: dict[str, Deployment] = {}
    for deployment in sorted(deployments, key=lambda item: item.revision):
        generation = max(generation, deployment.revision)
        if selects(deployment, agent):
            winners[deployment.slot] = deployment
    return Desired(
        generation,
        tuple(
            Assignment(slot, winner.name, winner.release, winner.bundle_id) for slot, winner in sorted(winners.items())
        ),
    )
