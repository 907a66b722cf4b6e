"""The fleet is planned and its traffic prepared by pure rules: nothing is lost, nothing is seen twice."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nervure_core.errors import InputError
from nervure_edge.network.dataset import features_of
from nervure_edge.network.flow import Flow
from nervure_edge.network.records.flow_table import read_table, write_table
from nervure_simulations.fleet.plan import AgentPlan, plan_fleet
from nervure_simulations.fleet.traffic import assign_sites, history_flows, prepare_traffic, retimed
from nervure_simulations.scenarios import Overrides, load_scenario
from nervure_simulations.sites import Site
from nervure_simulations.sites.starting import starting_sample


def flow(index: int, site: str = "s") -> Flow:
    return Flow(
        start_us=1_000_000 * index,
        dur_us=300_000 + index,
        src=f"10.0.0.{index % 7}",
        dst="10.0.1.1",
        sport=40_000 + index,
        dport=22 if index % 3 else 80,
        proto="tcp",
        service="ssh" if index % 3 else "http",
        state="SF",
        spkts=4 + index % 5,
        dpkts=3,
        sbytes=400 + index,
        dbytes=900,
        label="attack" if index % 3 else "benign",
        attack="ssh_guessing" if index % 3 else "",
        site=site,
    )


def site(tmp_path: Path, name: str, region: str, rows: int = 100) -> Site:
    path = tmp_path / f"{name}.csv.gz"
    write_table(path, [flow(index, name) for index in range(rows)])
    return Site(name=name, region=region, path=path, attacks=(), rows=rows, train_rows=int(rows * 0.7))


def agent(number: int, home: str = "north") -> AgentPlan:
    return AgentPlan(f"{home}-{number:02d}", home, "in-process", (home,))


def test_every_agent_tries_its_home_first_and_then_all_others() -> None:
    fleet = plan_fleet(load_scenario("three-regions"))
    assert len({plan.agent_id for plan in fleet}) == 30
    assert all(plan.hub_order[0] == plan.home for plan in fleet)
    assert all(sorted(plan.hub_order) == ["americas", "asia", "europe"] for plan in fleet)
    assert [plan.home for plan in fleet if plan.kind == "process"] == ["americas", "europe", "asia"]


def test_agents_of_a_dead_hub_spread_over_the_living_ones() -> None:
    second = [plan.hub_order[1] for plan in plan_fleet(load_scenario("three-regions")) if plan.home == "europe"]
    assert sorted(second) == ["americas"] * 5 + ["asia"] * 5


@given(agents=st.integers(3, 90))
def test_any_number_of_agents_is_planned(agents: int) -> None:
    assert len(plan_fleet(load_scenario("three-regions", Overrides(agents=agents)))) == agents


@given(history=st.floats(0, 0.99), replay_s=st.floats(0.5, 600), count=st.integers(1, 200))
def test_retimed_flows_keep_their_order_and_end_within_the_replay(history: float, replay_s: float, count: int) -> None:
    flows = [flow(index) for index in range(count)]
    moved = retimed(flows, start_us=10**15, history=history, history_s=4.0, replay_s=replay_s)
    ends = [one.end_us for one in moved]
    assert all(before < after for before, after in pairwise(ends))
    assert ends[0] >= 10**15
    assert ends[-1] <= 10**15 + (4.0 + replay_s) * 1e6 + count
    assert sum(end < 10**15 + 4_000_000 + count for end in ends) >= history_flows(count, history)


def test_moving_flows_in_time_changes_no_feature() -> None:
    flows = [flow(index) for index in range(150)]
    moved = retimed(flows, start_us=10**15, history=0.3, history_s=5, replay_s=60)
    assert np.array_equal(features_of(flows).x, features_of(moved).x)


def test_agents_get_the_sites_of_their_region_and_share_what_is_scarce(tmp_path: Path) -> None:
    sites = [site(tmp_path, "a", "north"), site(tmp_path, "b", "north"), site(tmp_path, "c", "south")]
    shares = assign_sites([agent(1), agent(2), agent(3), agent(1, "south")], sites)
    assert {name: share.site.name for name, share in shares.items()} == {
        "north-01": "a",
        "north-02": "b",
        "north-03": "a",
        "south-01": "c",
    }
    assert [(shares[name].part, shares[name].parts) for name in ("north-01", "north-03")] == [(0, 2), (1, 2)]


def test_a_region_without_sites_of_its_own_takes_those_nobody_has(tmp_path: Path) -> None:
    sites = [site(tmp_path, "a", "north"), site(tmp_path, "b", "south")]
    shares = assign_sites([agent(1, "home"), agent(2, "home")], sites)
    assert sorted(share.site.name for share in shares.values()) == ["a", "b"]


def test_traffic_is_split_so_that_no_flow_is_seen_twice_and_the_judge_sees_the_rest(tmp_path: Path) -> None:
    sites = [site(tmp_path, "a", "north", 200)]
    agents = [agent(1), agent(2)]
    traffic = prepare_traffic(
        agents, sites, tmp_path / "out", start_us=10**15, history=0.2, history_s=1, replay_s=10, starting_flows=30
    )
    assert traffic.flows == {"north-01": 70, "north-02": 70}
    seen = [one.sport for name in traffic.tables for one in read_table(traffic.tables[name])]
    assert sorted(seen) == [40_000 + index for index in range(140)]
    x, y = traffic.heldout["north"]["a"]
    assert (x.shape[0], y.shape) == (60, (60,))
    assert np.array_equal(x, features_of([flow(index, "a") for index in range(200)]).x[140:])
    assert len(traffic.start[1]) == 30


def test_a_site_too_small_for_its_agents_is_refused(tmp_path: Path) -> None:
    sites = [site(tmp_path, "a", "north", 60)]
    agents = [agent(1), agent(2), agent(3)]
    with pytest.raises(InputError, match="site a has 42 flows for 3 agents"):
        prepare_traffic(
            agents, sites, tmp_path / "o", start_us=10**15, history=0.2, history_s=1, replay_s=10, starting_flows=30
        )


def test_the_starting_model_comes_from_the_first_region_that_has_both_classes() -> None:
    x = np.zeros((9, 3), np.float32)
    calm, busy = np.zeros(9, np.int64), np.array([0, 1] * 4 + [0], np.int64)
    regions = {"calm": [(x, calm)], "mixed": [(x, calm), (x, busy)], "busy": [(x, busy)]}
    name, (sample, y) = starting_sample(regions, 3)
    assert name == "mixed"
    assert y.tolist() == [0, 0, 0, 0, 1, 0]
    assert sample.shape == (6, 3)
