"""What a federated run is told: one frozen model, validated whole, the same in YAML, in the API and in the store.

Every quantity has its unit in the name and a bound; an unknown key is refused.

>>> RunSpec(model="flows", strategy="fedprox", options={"mu": 0.01}).rounds
10
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from nervure_core.errors import ConfigurationError
from nervure_core.ids import check_name
from nervure_core.validation import problems
from nervure_federation.strategies import StrategyPlan, plan_strategy

Checked = TypeVar("Checked")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class JudgeSpec(_Strict):
    """How a candidate is judged before it may run anywhere.

    All bounds compare the candidate with the model it would replace, on traffic that no agent trained on.
    """

    heldout: str = "default"
    """The name of the held-out sets in the object store; see ``nervure_federation.heldout``."""
    min_f1: float = Field(default=0.0, ge=0, le=1)
    """A candidate below this is refused."""
    max_f1_drop: float = Field(default=0.02, ge=0, le=1)
    """How much lower than the current model's F1 a candidate's may be."""
    max_worst_site_fpr_increase: float = Field(default=0.05, ge=0, le=1)
    """How much higher than the current model's the false positive rate of the worst site may be."""
    tolerated_worst_site_fpr: float = Field(default=0.1, ge=0, le=1)
    """Up to this rate an increase is not held against a candidate: a model that finds nothing has no false positives."""

    @field_validator("heldout")
    @classmethod
    def _heldout_is_a_name(cls, value: str) -> str:
        return _as_value_error(lambda: check_name("held-out set", value))


class RunSpec(_Strict):
    """One federated run."""

    model: str
    """The name of the model in the registry; its latest release is where the run starts."""
    strategy: str = "fedavg"
    options: dict[str, float | int] = Field(default_factory=dict)
    """Options of the strategy, such as ``mu`` of fedprox; see ``nervure_federation.strategies``."""
    rounds: int = Field(default=10, ge=1, le=10_000)
    epochs: int = Field(default=1, ge=1, le=1000)
    """Passes over its own examples that an agent makes in one round."""
    lr: float | None = Field(default=None, gt=0, le=100)
    """Learning rate of the agents; None takes the model's own, which its bundle names."""
    batch_size: int | None = Field(default=None, ge=1, le=65_536)
    """Rows a training step; None takes the model's own."""
    fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of a hub's eligible agents that a round selects."""
    min_agents: int = Field(default=1, ge=1, le=100_000)
    """A hub with fewer eligible agents sits the round out."""
    max_agents: int = Field(default=1000, ge=1, le=100_000)
    """The most agents a hub selects for one round."""
    min_examples: int = Field(default=1, ge=0, le=10_000_000)
    """Agents that hold fewer labelled examples are not eligible."""
    quorum: float = Field(default=0.5, gt=0, le=1)
    """Share of the selected agents whose usable replies are enough."""
    min_regions: int = Field(default=1, ge=1, le=1000)
    """Regions whose contributions are needed for a candidate."""
    interval_s: float = Field(default=0.0, ge=0, le=86_400)
    """At least so long from the start of one round to the start of the next: agents see fresh examples meanwhile."""
    gather_s: float = Field(default=15.0, ge=0, le=3600)
    """How long a hub waits for ``min_agents`` to be there before it sits a round out."""
    deadline_s: float = Field(default=60.0, gt=0, le=86_400)
    """How long agents have for one round's training."""
    straggler_s: float = Field(default=10.0, ge=0, le=86_400)
    """How long a hub waits for the rest once its quorum is there."""
    join: Literal["examples", "equal"] = "examples"
    """How the leader weighs the regions: by the examples behind them, or each the same."""
    server_momentum: float = Field(default=0.0, ge=0, lt=1)
    """Share of the last round's step that the leader adds to this round's (FedAvgM, Hsu et al. 2019)."""
    max_examples: int = Field(default=10_000_000, ge=1)
    """The largest ``num-examples`` that is believed of one agent."""
    max_failed_rounds: int = Field(default=3, ge=0, le=10_000)
    """After so many failed rounds in a row the run fails."""
    judge: JudgeSpec | None = JudgeSpec()
    """None publishes every candidate unjudged."""
    evaluate: bool = False
    """Also let the agents score their hub's aggregate on their own examples."""
    baseline_local: bool = False
    """Also train each agent alone for as long as the whole run, and judge the results (round 0)."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    note: str = Field(default="", max_length=200)

    @field_validator("model")
    @classmethod
    def _model_is_a_name(cls, value: str) -> str:
        return _as_value_error(lambda: check_name("model", value))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _as_value_error(self.plan)
        if self.max_agents < self.min_agents:
            raise ValueError(f"max_agents ({self.max_agents}) is below min_agents ({self.min_agents})")
        if self.baseline_local and self.judge is None:
            raise ValueError("baseline_local needs a judge: what agents learn alone is only scored, never published")
        return self

    def plan(self) -> StrategyPlan:
        """Return the chosen strategy, checked.

        Raises:
            ConfigurationError: No such strategy or option.
        """
        return plan_strategy(self.strategy, self.options)


def parse_spec(data: object, *, where: str = "run") -> RunSpec:
    """Validate what a user wrote.

    Args:
        data: A mapping, as YAML or JSON gave it.
        where: What the errors call it: the recipe's name or file.

    Raises:
        ConfigurationError: Names every wrong field with the value found.
    """
    if not isinstance(data, dict):
        raise ConfigurationError(f"{where}: expected a mapping of settings, found {type(data).__name__}")
    try:
        return RunSpec.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError(
            f"{where}: " + "; ".join(problems(error)), hint="nervure rounds start --help lists the settings"
        ) from error


def _as_value_error(check: Callable[[], Checked]) -> Checked:
    # pydantic collects ValueErrors into its report; our own errors would end validation at the first.
    try:
        return check()
    except ConfigurationError as error:
        raise ValueError(error.message) from error
