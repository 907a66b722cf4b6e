"""Scenarios: what fleet to run, on what traffic, learning how, and what goes wrong meanwhile.

A scenario is a YAML file, validated whole before anything starts: an unknown key or a wrong value is named with its
file, field and value. Some are shipped; ``nervure simulate --list`` shows them.

>>> load_scenario("three-regions").total_agents
30
"""

from nervure_simulations.scenarios.load import ScenarioError, load_scenario, shipped_scenarios
from nervure_simulations.scenarios.model import Fault, Learning, Overrides, Region, Scenario, Traffic

__all__ = [
    "Fault",
    "Learning",
    "Overrides",
    "Region",
    "Scenario",
    "ScenarioError",
    "Traffic",
    "load_scenario",
    "shipped_scenarios",
]
