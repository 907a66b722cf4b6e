"""How the parts of a site's plan are drawn: attacks, servers, innocent events, episodes.

Every function takes the site's own random source and draws from it in a fixed order: changing that order changes every
plan, and with it what the seed of the shipped sites stands for.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from nervure_simulations.ranges.addresses import AddressPlan
from nervure_simulations.ranges.catalogue import ATTACKS, DEVICES, SERVICES, Behaviour
from nervure_simulations.ranges.site_plan import CUT, BenignEvent, Device, Episode, Server

_FLOWS_PER_ACTION = {"dns": 2.0, "browse": 3.0, "ftp_get": 2.0, "ftp_put": 2.0, "refused": 1.5}
_KINDS_IN_TURN = ((2, 1), (1, 1), (1, 2), (2, 1), (1, 1), (1, 2), (2, 1), (1, 1), (1, 2), (1, 0))
"""How many kinds of their region's own, and how many that regions share, the sites of a region get, in turn."""
_RUNS_TO_LEARN = 2
"""Runs of each attack in the part that an agent may learn from; one more is held out."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where things happen: what the episodes and events of a site are drawn over."""

    devices: tuple[Device, ...]
    servers: tuple[Server, ...]
    addresses: AddressPlan
    seconds: float


def choose_attacks(region: str, place: int, rng: random.Random) -> tuple[str, ...]:
    """Choose one to three kinds of attack: some that only this region has, some that regions share."""
    own = [name for name, kind in ATTACKS.items() if kind.regions == (region,)]
    shared = [name for name, kind in ATTACKS.items() if region in kind.regions and len(kind.regions) > 1]
    # Walk through the kinds rather than drawing them, so that ten sites meet all of them about equally often.
    turns = [_KINDS_IN_TURN[number % len(_KINDS_IN_TURN)] for number in range(place + 1)]
    own_before, shared_before = (sum(turn[which] for turn in turns[:-1]) for which in (0, 1))
    own_wanted, shared_wanted = turns[-1]
    chosen = [own[(own_before + step) % len(own)] for step in range(own_wanted)]
    chosen += [shared[(shared_before + step) % len(shared)] for step in range(shared_wanted)]
    rng.shuffle(chosen)
    return tuple(chosen)


def owned_device(mix: list[str], kinds: Sequence[str], rng: random.Random) -> int | None:
    """Pick a device that an attacker may own: its own habits must not look like the attack.

    A tunnel starts inside or it is none: where no device fits, one is added to the mix.
    """
    insider_kinds = [kind for kind in kinds if ATTACKS[kind].insider]
    needed = "dns_tunnel" in kinds
    if not insider_kinds or (rng.random() < 0.3 and not needed):
        return None
    services = {ATTACKS[kind].service for kind in insider_kinds} | {"telnet"}
    fit = [n for n, kind in enumerate(mix) if not services & {habit.service for habit in DEVICES[kind]}]
    if not fit and needed:
        mix.append("plug")
        fit = [len(mix) - 1]
    return rng.choice(fit) if fit else None


def place_servers(
    devices: Sequence[Device], kinds: Sequence[str], addresses: AddressPlan, rng: random.Random
) -> tuple[Server, ...]:
    """Give every service that a device uses or an attack needs a server."""
    wanted = {habit.service for device in devices for habit in DEVICES[device.kind]}
    wanted |= {ATTACKS[kind].service for kind in kinds} | {"dns", "http"}
    wanted -= {""}
    servers: list[Server] = []
    for service in sorted(wanted):
        count = 2 if service in {"http", "https"} else 1
        where = rng.sample(addresses.servers, k=count)
        servers += [Server(service, address, SERVICES[service][1]) for address in where]
    return tuple(servers)


def draw_events(ground: Ground, rng: random.Random) -> tuple[BenignEvent, ...]:
    """Draw what every device does and when."""
    events: list[BenignEvent] = []
    for device in ground.devices:
        for habit in DEVICES[device.kind]:
            at = rng.uniform(0.5, habit.gap_s)
            while at < ground.seconds - 2.0:
                events.append(_event(at, device, habit, ground, rng))
                at += 0.2 + rng.expovariate(1.0 / habit.gap_s)
    return tuple(sorted(events, key=lambda event: event.at_s))


def _event(at: float, device: Device, habit: Behaviour, ground: Ground, rng: random.Random) -> BenignEvent:
    choice = [server for server in ground.servers if server.service == habit.service]
    server = rng.choice(choice) if choice else None
    target, port = (server.address, server.port) if server else (ground.addresses.dark_host(rng), 0)
    if habit.action == "dark":
        port = rng.choice((80, 443, 8080))
    elif habit.action == "mdns":
        target, port = "224.0.0.251", 5353
    elif habit.action == "refused":
        port = rng.choice((8081, 9100, 8443))
    size = rng.randint(*habit.size)
    return BenignEvent(
        at_s=round(at, 4),
        home=device.home,
        source=device.address,
        action=habit.action,
        target=target,
        port=port,
        size=size,
        seed=rng.getrandbits(32),
    )


def draw_episodes(
    kinds: Sequence[str], events: Sequence[BenignEvent], ground: Ground, rng: random.Random
) -> tuple[Episode, ...]:
    """Draw two runs of each attack before the cut and one after it, sized for a fair share of attacks."""
    benign = sum(_FLOWS_PER_ACTION.get(event.action, 1.0) for event in events)
    share = rng.uniform(0.36, 0.47)
    per_episode = benign * share / (1 - share) / (len(kinds) * (_RUNS_TO_LEARN + 1))
    most_s = min(9.0, ground.seconds * (1 - CUT) * 0.55)
    cut = ground.seconds * CUT
    slot = (cut - 1.0) / _RUNS_TO_LEARN
    episodes: list[Episode] = []
    for name in kinds:
        starts = [n * slot + rng.uniform(0.4, max(0.5, slot - most_s - 1.2)) for n in range(_RUNS_TO_LEARN)]
        starts.append(rng.uniform(cut + 1.2, ground.seconds - most_s - 1.5))
        for start in starts:
            flows = max(4, min(ATTACKS[name].most_flows, round(per_episode * rng.uniform(0.7, 1.3))))
            options = {"seed": str(rng.getrandbits(32))}
            sources, targets = _ends(name, ground, options, rng)
            episodes.append(
                Episode(
                    kind=name,
                    at_s=round(start, 4),
                    most_s=round(most_s, 4),
                    home="bot" if _insider(name, ground) else "adv",
                    sources=sources,
                    targets=targets,
                    protocol=ATTACKS[name].protocol,
                    ports=ATTACKS[name].ports,
                    flows=flows,
                    options=options,
                )
            )
    return tuple(sorted(episodes, key=lambda episode: episode.at_s))


def _insider(name: str, ground: Ground) -> Device | None:
    if not ATTACKS[name].insider:
        return None
    return next((device for device in ground.devices if device.home == "bot"), None)


def _ends(
    name: str, ground: Ground, options: dict[str, str], rng: random.Random
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Draw who attacks whom, and what the recipe of this kind wants to know."""
    kind, addresses = ATTACKS[name], ground.addresses
    inside = _insider(name, ground)
    sources = (inside.address if inside else addresses.attacker,)
    aimed = [server.address for server in ground.servers if server.service == kind.service]
    if name == "sweep":
        # The lan as a whole; most of its addresses are nobody's, as in any real network.
        options["port"] = str(rng.choice((23, 2323)))
        return sources, (addresses.lan,)
    if name == "dns_tunnel":
        options["sockets"] = rng.choice(("many", "few"))
        return sources, (addresses.drop_point,)
    if name in {"udp_flood", "icmp_flood"}:
        target = rng.choice(addresses.servers)
        options["port"] = str(rng.choice((53, 123, 443, 5004, 0)))
        options["packets"] = str(rng.choice((20, 60, 200)))
        return (addresses.botnet,), (target,)
    if name == "syn_flood":
        target = rng.choice(aimed)
        options["packets"] = str(rng.choice((1, 1, 4)))
        return (addresses.botnet,), (target,)
    if aimed:
        return sources, (rng.choice(aimed),)
    target = rng.choice(sorted({*addresses.servers, *addresses.devices}))
    options["pace"] = rng.choice(("3", "4"))
    return sources, (target,)
