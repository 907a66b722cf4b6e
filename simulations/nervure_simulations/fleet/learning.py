"""The starting model, the settings of the rounds, and what every site reaches alone.

Rules: the starting model knows a few flows of one region's sites and says so in its lineage; alone, a site trains from the same
start, with the same step, as many passes over *all* it will ever see as the rounds make, which favours it over an agent
that learns while its traffic still comes; both are judged by the same judge on the same held-out flows.

>>> spec = round_settings(scenario)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nervure_core.bundle import TRAIN, Bundle
from nervure_edge.network.dataset import features_of
from nervure_edge.network.records.flow_table import read_table
from nervure_federation.judge import judge_weights
from nervure_federation.models import Fitter, Schedule
from nervure_simulations.fleet.traffic import Traffic
from nervure_simulations.report.model import Score
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
        "judge": {"heldout": HELDOUT},
        "seed": scenario.seed,
        "note": f"scenario {scenario.name}",
    }


def alone(scenario: Scenario, bundle: Bundle, traffic: Traffic, agents: Sequence[str]) -> Score:
    """Train every agent alone and return the mean of what the judge measures of them."""
    learning = scenario.learning
    heldout = {
        f"{region}/{site}": examples for region, sites in traffic.heldout.items() for site, examples in sites.items()
    }
    fitter = Fitter(bundle.path(TRAIN))
    start = {name: bundle.weights()[name].astype(np.float32) for name in bundle.manifest.trainable}
    schedule = Schedule(
        epochs=learning.rounds * learning.epochs,
        learning_rate=learning.learning_rate,
        batch_size=learning.batch_size,
        seed=scenario.seed,
    )
    verdicts = []
    for agent_id in agents:
        data = features_of(read_table(traffic.tables[agent_id]))
        fit = fitter.fit(start, data.x, data.y, schedule)
        verdicts.append(judge_weights(bundle, fit.weights, heldout))
    return Score(
        accuracy=_mean([verdict.accuracy for verdict in verdicts]),
        f1=_mean([verdict.f1 for verdict in verdicts]),
        fpr=_mean([verdict.fpr for verdict in verdicts]),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
