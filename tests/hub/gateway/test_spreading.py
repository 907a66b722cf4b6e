"""Every agent hears of every hub, and the agents of a dead one spread over the others."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from nervure_hub.gateway.spreading import spread

HUBS = ("a:1", "b:1", "c:1", "d:1")


@given(hubs=st.lists(st.sampled_from(HUBS), max_size=6), own=st.sampled_from(HUBS), agent=st.text(max_size=20))
def test_all_hubs_are_named_once_and_the_own_one_first(hubs: list[str], own: str, agent: str) -> None:
    told = spread(hubs, own, agent)
    assert sorted(told) == sorted(set(hubs))
    assert own not in hubs or told[0] == own


def test_a_fleet_spreads_evenly_over_what_is_left() -> None:
    second = Counter(spread(HUBS, "a:1", f"agent-{number}")[1] for number in range(3000))
    assert set(second) == {"b:1", "c:1", "d:1"}
    assert all(900 < count < 1100 for count in second.values())


def test_a_hub_that_goes_moves_nobody_else() -> None:
    for number in range(100):
        before = spread(HUBS, "a:1", f"agent-{number}")
        after = spread([hub for hub in HUBS if hub != "d:1"], "a:1", f"agent-{number}")
        assert after == tuple(hub for hub in before if hub != "d:1")
