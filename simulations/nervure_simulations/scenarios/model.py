"""The shape of a scenario: frozen pydantic models with defaults, units in the names, and bounds on everything.

Rules: a key that is not here is refused; whatever contradicts something else is refused where both are known; what
the command line overrides goes through the same validation again (``Scenario.with_overrides``).

>>> scenario = Scenario(name="two", regions={"north": Region(agents=2), "south": Region(agents=1)})
>>> scenario.total_agents, scenario.learning.rounds
(3, 10)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from nervure_core.errors import ConfigurationError
from nervure_core.ids import check_name

Strategy = Literal["fedavg", "fedprox", "fedmedian"]


def _name(text: str) -> str:
    try:
        return check_name("name", text)
    except ConfigurationError as error:  # pydantic collects ValueErrors and adds the field
        raise ValueError(error.message) from error


Name = Annotated[str, AfterValidator(_name)]


class Part(BaseModel):
    """What all parts of a scenario share: frozen, and strangers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Region(Part):
    """One region: a hub with its gateways, and the agents whose home it is."""

    agents: int = Field(default=10, ge=1, le=500)
    gateways: int = Field(default=2, ge=1, le=16)
    agent_processes: int = Field(default=1, ge=0, le=50)
    """How many of the agents are real ``nervure agent run`` processes; the others share the runner's process."""

    @model_validator(mode="after")
    def _processes_are_agents(self) -> Self:
        if self.agent_processes > self.agents:
            raise ValueError(f"agent_processes {self.agent_processes} is more than agents {self.agents}")
        return self


class Traffic(Part):
    """What the agents see."""

    needs_data: bool = False
    """Whether it is about captures that are not shipped, so that ``--data`` has to be given."""
    replay_s: float = Field(default=150.0, gt=0, le=86_400)
    """The rest of what each agent sees is spread evenly over this many seconds."""
    history: float = Field(default=0.3, ge=0, lt=1)
    """The first share of what an agent sees comes fast, before the first round: what that one learns from."""
    history_s: float = Field(default=8.0, gt=0, le=3600)
    """How fast: over so many seconds."""


class Learning(Part):
    """The starting model and the federated rounds."""

    model: Name = "flow-guard"
    hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = (64, 32)
    """Widths of the hidden layers of the multi-layer perceptron."""
    strategy: Strategy = "fedavg"
    rounds: int = Field(default=10, ge=1, le=1000)
    epochs: int = Field(default=5, ge=1, le=100)
    batch_size: int = Field(default=16, ge=1, le=65_536)
    learning_rate: float = Field(default=0.2, gt=0, le=10)
    """For adam take about a hundredth of it."""
    optimizer: Literal["adam", "sgd"] = "sgd"
    threshold: float = Field(default=0.5, ge=0, le=1)
    """Score from which a flow is a finding."""
    proximal_mu: float = Field(default=0.0, ge=0, le=10)
    """FedProx's pull towards the global weights; 0 for the other strategies."""
    server_momentum: float = Field(default=0.5, ge=0, lt=1)
    """Share of the last round's step that the leader adds to this round's."""
    join: Literal["examples", "equal"] = "examples"
    """How the leader weighs the regions: by the examples behind them, or each the same."""
    max_f1_drop: float = Field(default=0.02, ge=0, le=1)
    """How much lower than the current model's F1 a candidate's may be."""
    tolerated_worst_site_fpr: float = Field(default=0.1, ge=0, le=1)
    """Up to this false positive rate of the worst site no increase is held against a candidate."""
    quorum: float = Field(default=0.6, gt=0, le=1)
    """Share of a region's agents whose updates are enough to close its round."""
    interval_s: float = Field(default=5.0, ge=0, le=3600)
    """From the start of one round to the start of the next, so that agents see fresh traffic between them."""
    deadline_s: float = Field(default=20.0, gt=0, le=3600)
    """A region waits no longer for its agents in one round."""
    straggler_s: float = Field(default=3.0, ge=0, le=3600)
    """How long a region waits for the rest once its quorum is there."""
    starting_flows: int = Field(default=60, ge=5, le=1_000_000)
    """The starting model is made from so many flows of every site of one region."""

    @model_validator(mode="after")
    def _mu_fits_the_strategy(self) -> Self:
        if self.proximal_mu and self.strategy != "fedprox":
            raise ValueError(f"proximal_mu {self.proximal_mu} is for fedprox, not for {self.strategy}")
        return self


class Fault(Part):
    """Something that goes wrong on purpose."""

    kind: Literal["kill-hub"]
    """kill-hub: SIGKILL every process of the region's hub at once, as a power cut would."""
    region: Name
    at: float = Field(default=0.5, ge=0, le=1)
    """When, as the share of rounds that are done."""


class Scenario(Part):
    """A whole fleet and its story."""

    name: Name
    title: str = ""
    seed: int = Field(default=7, ge=0, lt=2**31)
    regions: dict[Name, Region] = Field(min_length=1, max_length=16)
    traffic: Traffic = Traffic()
    learning: Learning = Learning()
    faults: tuple[Fault, ...] = ()
    min_f1: float = Field(default=0.9, ge=0, le=1)
    """What the last accepted model should reach on held-out flows; the report says whether it did."""
    limit_s: float = Field(default=300.0, gt=0)
    """The whole run should end within this time; the report says whether it did."""

    @model_validator(mode="after")
    def _faults_hit_regions(self) -> Self:
        for fault in self.faults:
            if fault.region not in self.regions:
                raise ValueError(f"faults name region {fault.region!r}, which is not among {', '.join(self.regions)}")
        killed = {fault.region for fault in self.faults}
        if killed >= set(self.regions):
            raise ValueError("the faults kill every hub: nobody would be left to finish the rounds")
        return self

    @property
    def total_agents(self) -> int:
        """Agents over all regions."""
        return sum(region.agents for region in self.regions.values())

    def with_overrides(self, overrides: Overrides) -> Scenario:
        """Return this scenario with what the command line says instead, validated again.

        Raises:
            pydantic.ValidationError: The result is not a scenario.
            ConfigurationError: There are fewer agents than regions.
        """
        data = self.model_dump()
        learning = data["learning"]
        if overrides.strategy is not None:
            learning["strategy"] = overrides.strategy
            learning["proximal_mu"] = 0.0 if overrides.strategy != "fedprox" else learning["proximal_mu"] or 0.01
        if overrides.rounds is not None:
            learning["rounds"] = overrides.rounds
        if overrides.seed is not None:
            data["seed"] = overrides.seed
        if overrides.no_fault:
            data["faults"] = ()
        if overrides.agents is not None:
            for name, count in zip(self.regions, _spread(overrides.agents, len(self.regions)), strict=True):
                data["regions"][name]["agents"] = count
                data["regions"][name]["agent_processes"] = min(count, self.regions[name].agent_processes)
        return Scenario.model_validate(data)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line may change; None leaves the scenario's own value."""

    strategy: str | None = None
    rounds: int | None = None
    agents: int | None = None
    """Over all regions, spread evenly."""
    seed: int | None = None
    no_fault: bool = False


def _spread(total: int, parts: int) -> list[int]:
    if total < parts:
        raise ConfigurationError(f"--agents {total}: there are {parts} regions, and each needs at least one agent")
    return [total // parts + (1 if part < total % parts else 0) for part in range(parts)]
