"""The plan of a range is a pure function of its seed, and labels follow from it without contradiction."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nervure_core.errors import ConfigurationError
from nervure_simulations.ranges.assault import Files, commands_of
from nervure_simulations.ranges.catalogue import ATTACKS, DEVICES, REGIONS, SERVICES
from nervure_simulations.ranges.plan import plan_range, plan_site

seeds = st.integers(min_value=0, max_value=2**32)
places = st.integers(min_value=0, max_value=60)
lengths = st.floats(min_value=20.0, max_value=200.0)
FILES = Files(words="words", python="python3", lan_hosts=("10.0.0.9",), mqtt_password="secret")


@given(seeds, places, lengths)
@settings(max_examples=25, deadline=None)
def test_same_seed_same_site(seed: int, index: int, seconds: float) -> None:
    assert plan_site(seed=seed, index=index, seconds=seconds) == plan_site(seed=seed, index=index, seconds=seconds)


def test_a_site_does_not_change_when_others_are_added_beside_it() -> None:
    assert plan_range(seed=3, sites=4, seconds=40.0) == plan_range(seed=3, sites=9, seconds=40.0)[:4]


@given(seeds, places, lengths)
@settings(max_examples=40, deadline=None)
def test_every_kind_runs_on_both_sides_of_the_cut_and_never_across_it(seed: int, index: int, seconds: float) -> None:
    plan = plan_site(seed=seed, index=index, seconds=seconds)
    assert 1 <= len(plan.attacks) <= 3
    for kind in plan.attacks:
        assert plan.region in ATTACKS[kind].regions
        runs = [episode for episode in plan.episodes if episode.kind == kind]
        before = [run for run in runs if run.at_s + run.most_s <= plan.cut_s]
        after = [run for run in runs if run.at_s >= plan.cut_s]
        assert before
        assert after
        assert len(before) + len(after) == len(runs)
        assert all(run.at_s >= 0 and run.at_s + run.most_s <= plan.seconds for run in runs)


@given(seeds, places)
@settings(max_examples=40, deadline=None)
def test_no_innocent_event_looks_like_an_episode(seed: int, index: int) -> None:
    plan = plan_site(seed=seed, index=index, seconds=60.0)
    for episode in plan.episodes:
        sources = [ipaddress.ip_network(text) for text in episode.sources]
        targets = [ipaddress.ip_network(text) for text in episode.targets]
        for event in plan.events:
            source, target = ipaddress.ip_address(event.source), ipaddress.ip_address(event.target)
            mine = any(source in network for network in sources)
            theirs = not targets or any(target in network for network in targets)
            port = episode.ports is None or event.port in episode.ports
            same_transport = _transport(event.action) == episode.protocol
            assert not (mine and theirs and port and same_transport), (episode, event)


def _transport(action: str) -> str:
    for habits in DEVICES.values():
        for habit in habits:
            if habit.action == action and habit.service:
                return SERVICES[habit.service][0]
    return "udp" if action == "mdns" else "tcp"


@given(seeds, places)
@settings(max_examples=40, deadline=None)
def test_addresses_have_one_role_each_and_stay_private(seed: int, index: int) -> None:
    plan = plan_site(seed=seed, index=index, seconds=60.0)
    addresses = plan.addresses
    hosts = [*addresses.devices, *addresses.servers, addresses.attacker, addresses.drop_point]
    assert len(set(hosts)) == len(hosts)
    assert not any(ipaddress.ip_address(host).is_global for host in hosts)
    botnet = ipaddress.ip_network(addresses.botnet)
    assert not any(ipaddress.ip_address(host) in botnet for host in hosts)


@given(seeds, places)
@settings(max_examples=40, deadline=None)
def test_commands_are_the_same_each_time_and_aim_at_the_episodes_targets(seed: int, index: int) -> None:
    plan = plan_site(seed=seed, index=index, seconds=60.0)
    for episode in plan.episodes:
        commands = commands_of(episode, FILES)
        assert commands
        assert commands == commands_of(episode, FILES)
        if episode.kind != "sweep":
            assert all(any(episode.targets[0] in word for word in command) for command in commands)


def test_regions_have_attacks_of_their_own() -> None:
    plans = plan_range(seed=7, sites=30, seconds=75.0)
    seen = {region: {kind for plan in plans if plan.region == region for kind in plan.attacks} for region in REGIONS}
    for region in REGIONS:
        others = set[str]().union(*(kinds for name, kinds in seen.items() if name != region))
        assert seen[region] - others
    assert set[str]().union(*seen.values()) == set(ATTACKS)


@pytest.mark.parametrize(("sites", "seconds"), [(0, 60.0), (121, 60.0), (3, 5.0), (3, 1e6)])
def test_numbers_out_of_bounds_are_named(sites: int, seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="out of bounds"):
        plan_range(seed=1, sites=sites, seconds=seconds)
