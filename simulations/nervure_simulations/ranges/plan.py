"""The plan of a range: who lives where, who does what when, drawn from one seed.

Rules:
    1. Pure: the same (seed, index, seconds) gives the same site on every machine, and a site does not change when
       others are added beside it.
    2. Every attack runs in several episodes; no episode crosses the cut between the part an agent may learn from and
       the part that is held out, and each side of the cut has at least one of every kind.
    3. Labels follow from the plan: no innocent event goes from an episode's sources to its targets and ports, so "was
       it the attack" has one answer. `plan_site` keeps this rule and the property tests hold it to it.

Example:
    >>> plan = plan_site(seed=7, index=4, seconds=75.0)
    >>> plan.region, plan.profile
    ('europe', 'office')
"""

import random

from nervure_core.errors import ConfigurationError
from nervure_simulations.ranges.addresses import draw_addresses
from nervure_simulations.ranges.catalogue import DEVICES, PROFILES, REGIONS
from nervure_simulations.ranges.drawing import (
    Ground,
    choose_attacks,
    draw_episodes,
    draw_events,
    owned_device,
    place_servers,
)
from nervure_simulations.ranges.site_plan import Device, SitePlan

LEAST_SECONDS = 20.0
"""Below this no episode fits between the cut and the end."""


def plan_range(*, seed: int, sites: int, seconds: float) -> tuple[SitePlan, ...]:
    """Plan a whole range.

    Args:
        seed: Any integer; the plan depends on nothing else.
        sites: Number of sites, shared out over the regions in turn.
        seconds: Length of each capture.

    Raises:
        ConfigurationError: A number is out of bounds.
    """
    if not 1 <= sites <= 120:
        raise ConfigurationError(f"sites = {sites}: out of bounds", hint="between 1 and 120")
    if not LEAST_SECONDS <= seconds <= 3600:
        raise ConfigurationError(f"seconds = {seconds}: out of bounds", hint=f"between {LEAST_SECONDS:g} and 3600")
    return tuple(plan_site(seed=seed, index=index, seconds=seconds) for index in range(sites))


def plan_site(*, seed: int, index: int, seconds: float) -> SitePlan:
    """Plan the site number `index` of the range with this seed."""
    rng = random.Random(f"nervure range {seed} site {index}")
    region, place = REGIONS[index % len(REGIONS)], index // len(REGIONS)
    kinds = choose_attacks(region, place, rng)
    # The regions start at different profiles, so that sites of equal number in two regions differ.
    profiles = list(PROFILES)
    profile = profiles[(place + 3 * (index % len(REGIONS))) % len(profiles)]
    mix = [*PROFILES[profile], *rng.choices(list(DEVICES), k=rng.randint(0, 2))]
    owned = owned_device(mix, kinds, rng)
    addresses = draw_addresses(index, rng, devices=len(mix))
    devices = tuple(
        Device(f"{kind}-{number}", kind, addresses.devices[number], "bot" if number == owned else "lan")
        for number, kind in enumerate(mix)
    )
    servers = place_servers(devices, kinds, addresses, rng)
    ground = Ground(devices, servers, addresses, seconds)
    events = draw_events(ground, rng)
    episodes = draw_episodes(kinds, events, ground, rng)
    return SitePlan(
        f"{region}-{place + 1:02d}", region, profile, seed, seconds, addresses, devices, servers, events, episodes
    )
