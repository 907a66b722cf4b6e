"""The starting model and the settings of the rounds.

The starting model knows a few flows of one region's sites and says so in its lineage; the rounds have to do the rest.

>>> spec = round_settings(scenario)  # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nervure_core.bundle import Bundle
from nervure_simulations.fleet.traffic import Traffic
from nervure_simulations.scenarios import Scenario
from nervure_simulations.sites.starting import starting_model

HELDOUT = "fleet"
"""The name of the held-out sets in the object store."""


def make_starting_bundle(scenario: Scenario, traffic: Traffic, folder: Path) -> Bundle:
    """Make the starting model in ``folder``, which must not exist yet."""
    return starting_model(folder, traffic.start, traffic.start_region, scenario.learning, seed=scenario.seed)


def round_settings(scenario: Scenario) -> dict[str, Any]:
    """Return the federated run as the API takes it."""
    learning = scenario.learning
    smallest = min(region.agents for region in scenario.regions.values())
    return {
        "model": learning.model,
        "strategy": learning.strategy,
        "options": {"mu": learning.proximal_mu} if learning.strategy == "fedprox" else {},
        "rounds": learning.rounds,
        "epochs": learning.epochs,
        "lr": learning.learning_rate,
        "batch_size": learning.batch_size,
        "server_momentum": learning.server_momentum,
        "min_agents": max(1, int(smallest * learning.quorum)),
        "quorum": learning.quorum,
        "interval_s": learning.interval_s,
        "deadline_s": learning.deadline_s,
        "straggler_s": learning.straggler_s,
        "join": learning.join,
        "judge": {
            "heldout": HELDOUT,
            "max_f1_drop": learning.max_f1_drop,
            "tolerated_worst_site_fpr": learning.tolerated_worst_site_fpr,
        },
        "seed": scenario.seed,
        "note": f"scenario {scenario.name}",
    }
