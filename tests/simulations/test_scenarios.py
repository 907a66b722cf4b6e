"""Scenarios are validated whole, and every refusal names file, field and value."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nervure_core.errors import ConfigurationError
from nervure_simulations.scenarios import Overrides, Scenario, ScenarioError, load_scenario, shipped_scenarios

SMALL = "name: small\nregions: {north: {agents: 2}, south: {agents: 1, agent_processes: 0}}\n"


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return str(path)


def test_every_shipped_scenario_is_valid_and_named_like_its_file() -> None:
    assert [scenario.name for scenario in shipped_scenarios()] == ["iot-23", "one-region", "three-regions"]
    demo = load_scenario("three-regions")
    assert list(demo.regions) == ["americas", "europe", "asia"]
    assert (demo.total_agents, demo.learning.rounds, demo.faults[0].region) == (30, 10, "europe")


def test_a_file_of_ones_own_is_read_with_defaults(tmp_path: Path) -> None:
    scenario = load_scenario(written(tmp_path, SMALL))
    assert scenario.total_agents == 3
    assert scenario.faults == ()
    assert scenario.learning.strategy == "fedavg"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SMALL + "colour: red\n", "colour: unknown key (found 'red')"),
        (SMALL + "learning: {rounds: 0}\n", "learning.rounds: input should be greater than or equal to 1 (found 0)"),
        (SMALL + "learning: {strategy: fedsomething}\n", "(found 'fedsomething')"),
        (SMALL + "learning: {proximal_mu: 0.1}\n", "learning: proximal_mu 0.1 is for fedprox, not for fedavg"),
        (SMALL + "faults: [{kind: kill-hub, region: west}]\n", "region 'west', which is not among north, south"),
        ("name: x\nregions: {a: {agents: 1, agent_processes: 2}}\n", "regions.a: agent_processes 2 is more than"),
        ("name: x\nregions: {a: {}}\nfaults: [{kind: kill-hub, region: a}]\n", "kill every hub"),
        ("name: x\n", "regions: field required"),
        (SMALL + "traffic: {history: 1.5}\n", "traffic.history: input should be less than 1 (found 1.5)"),
        ("name: x\nregions: {Bad Name: {}}\n", "regions.Bad Name"),
        ("- a\n- b\n", "a scenario is a mapping with name and regions, found list"),
        ("name: [\n", "not YAML (line 2"),
    ],
)
def test_a_wrong_scenario_is_refused_by_file_field_and_value(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(written(tmp_path, text))
    assert "mine.yaml: " in caught.value.message
    assert message in caught.value.message


def test_a_name_nobody_ships_lists_those_there_are() -> None:
    with pytest.raises(ScenarioError, match="shipped are iot-23, one-region, three-regions"):
        load_scenario("four-regions")


def test_a_missing_file_is_told_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"gone\.yaml: can't be read: No such file"):
        load_scenario(str(tmp_path / "gone.yaml"))


def test_the_command_line_overrides_and_is_validated_too() -> None:
    demo = load_scenario("three-regions", Overrides(strategy="fedprox", rounds=4, agents=7, seed=3, no_fault=True))
    assert (demo.learning.strategy, demo.learning.rounds, demo.seed, demo.faults) == ("fedprox", 4, 3, ())
    assert demo.learning.proximal_mu > 0
    assert [region.agents for region in demo.regions.values()] == [3, 2, 2]
    with pytest.raises(ScenarioError, match=r"learning\.rounds"):
        load_scenario("three-regions", Overrides(rounds=0))
    with pytest.raises(ConfigurationError, match="each needs at least one agent"):
        load_scenario("three-regions", Overrides(agents=2))


@given(agents=st.integers(3, 1500))
def test_agents_are_spread_evenly_and_none_is_lost(agents: int) -> None:
    demo = load_scenario("three-regions").with_overrides(Overrides(agents=agents))
    counts = [region.agents for region in demo.regions.values()]
    assert sum(counts) == agents
    assert max(counts) - min(counts) <= 1


def test_a_scenario_survives_its_own_dump() -> None:
    demo = load_scenario("three-regions")
    assert Scenario.model_validate(demo.model_dump(mode="json")) == demo
