"""Flower's strategies, chosen by name and set up so that they never wait and never sample.

Rules:

- A strategy is one of Flower's own classes, unmodified. Only its four methods are called (``configure_train``,
  ``aggregate_train``, ``configure_evaluate``, ``aggregate_evaluate``), never ``start()``.
- Selection is ours (seeded, frozen before the round), so a strategy always takes every node it is shown: fraction 1,
  at least 1. That also keeps it out of the loop in which Flower sleeps for ever while too few nodes are there.
- A strategy that keeps state between rounds (momentum, Adam's moments) would lose it with the hub that holds it, so
  such names are refused until their state is stored.
- Robust strategies name how many liars they bear (``liars``); the gatekeeper holds back a round with too few replies.

>>> plan = plan_strategy("fedmedian", {})
>>> plan.robust, plan.liars
(True, 0)
>>> plan_strategy("fedavg", {"beta": 0.2})
Traceback (most recent call last):
...
nervure_core.errors.ConfigurationError: strategy fedavg has no option 'beta' (it has none)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nervure_core.errors import ConfigurationError

if TYPE_CHECKING:
    # Planning a strategy happens in commands and in the API, where half a second for Flower would be felt.
    from nervure_federation.flower import Strategy

OptionValue = float | int


@dataclass(frozen=True, slots=True)
class StrategyKind:
    """What we know of one of Flower's strategies.

    Args:
        flower: The name of the class in ``flwr.serverapp.strategy``.
        options: Our option names and what Flower's constructor calls them.
        robust: It bears liars, and needs enough replies to do so.
        liars_option: The option that says how many liars, empty where there is none.
        replies_per_liar: Replies needed for ``f`` liars are ``replies_per_liar * f + 3``.
    """

    flower: str
    options: Mapping[str, str]
    robust: bool = False
    liars_option: str = ""
    replies_per_liar: int = 2


KINDS: Mapping[str, StrategyKind] = {
    "fedavg": StrategyKind("FedAvg", {}),
    "fedprox": StrategyKind("FedProx", {"mu": "proximal_mu"}),
    "fedmedian": StrategyKind("FedMedian", {}, robust=True),
    "fedtrimmedavg": StrategyKind("FedTrimmedAvg", {"beta": "beta"}, robust=True),
    "krum": StrategyKind("Krum", {"liars": "num_malicious_nodes"}, robust=True, liars_option="liars"),
    "multikrum": StrategyKind(
        "MultiKrum",
        {"liars": "num_malicious_nodes", "keep": "num_nodes_to_select"},
        robust=True,
        liars_option="liars",
    ),
    "bulyan": StrategyKind(
        "Bulyan", {"liars": "num_malicious_nodes"}, robust=True, liars_option="liars", replies_per_liar=4
    ),
}
"""The strategies by the names that configurations use."""

STATEFUL = frozenset({"fedavgm", "fedopt", "fedadam", "fedadagrad", "fedyogi"})
"""Strategies of Flower that keep state between rounds, refused by name."""


@dataclass(frozen=True, slots=True)
class StrategyPlan:
    """A strategy that was chosen and checked, not yet made."""

    name: str
    kind: StrategyKind
    options: Mapping[str, OptionValue]

    @property
    def robust(self) -> bool:
        """Whether it bears liars."""
        return self.kind.robust

    @property
    def liars(self) -> int:
        """How many liars it is set to bear."""
        return int(self.options.get(self.kind.liars_option, 0)) if self.kind.liars_option else 0

    @property
    def replies_needed(self) -> int:
        """The fewest replies that may be aggregated: 1, or ``2f + 3`` (Bulyan ``4f + 3``) where ``f`` liars are borne."""
        return self.kind.replies_per_liar * self.liars + 3 if self.liars else 1

    def build(self) -> Strategy:
        """Make Flower's strategy; imports Flower."""
        from nervure_federation import flower

        settings: dict[str, object] = {
            "fraction_train": 1.0,
            "min_train_nodes": 1,
            "fraction_evaluate": 1.0,
            "min_evaluate_nodes": 1,
            "min_available_nodes": 1,
            "evaluate_metrics_aggr_fn": flower.sum_counts,
        }
        settings.update({self.kind.options[name]: value for name, value in self.options.items()})
        made: Strategy = getattr(flower.strategies, self.kind.flower)(**settings)
        return made


def plan_strategy(name: str, options: Mapping[str, OptionValue]) -> StrategyPlan:
    """Choose a strategy by name and check its options.

    Raises:
        ConfigurationError: No strategy of that name, one that keeps state, or an option it doesn't have or bear.
    """
    key = name.lower()
    if key in STATEFUL:
        raise ConfigurationError(
            f"strategy {name} keeps state between rounds, which rounds don't store yet",
            hint=f"take one of {', '.join(sorted(KINDS))}",
        )
    kind = KINDS.get(key)
    if kind is None:
        # Not as a hint: a run's faults are told together, and hints would be lost there.
        raise ConfigurationError(f"no strategy named {name!r}; there are {', '.join(sorted(KINDS))}")
    for option, value in options.items():
        if option not in kind.options:
            known = ", ".join(sorted(kind.options)) or "none"
            raise ConfigurationError(f"strategy {key} has no option {option!r} (it has {known})")
        _check_option(key, option, value)
    return StrategyPlan(key, kind, dict(options))


def _check_option(strategy: str, option: str, value: OptionValue) -> None:
    low, high, whole = _BOUNDS[option]
    if whole and int(value) != value:
        raise ConfigurationError(f"strategy {strategy}: {option} must be a whole number, not {value!r}")
    if not low <= value <= high:
        raise ConfigurationError(f"strategy {strategy}: {option} must be from {low} to {high}, not {value!r}")


_BOUNDS: Mapping[str, tuple[float, float, bool]] = {
    "mu": (0.0, 1000.0, False),
    "beta": (0.0, 0.499, False),
    "liars": (0, 100_000, True),
    "keep": (1, 100_000, True),
}
