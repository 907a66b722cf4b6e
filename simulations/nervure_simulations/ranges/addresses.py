"""Where things live on one range site: a private address plan that differs from site to site.

Rules:
    1. Five networks a site, none of them routed anywhere: the lan (devices and servers on the premises), the service
       network ("the cloud"), the attackers' network, and inside it the botnet (addresses that floods pretend to be).
    2. An address belongs to one role only, so that a label can follow from addresses.
    3. Addresses are never features; they differ between sites all the same, so that a leak would show.

Example:
    >>> import random
    >>> draw_addresses(3, random.Random(1), devices=2).attackers
    '198.18.3.0/24'
"""

import ipaddress
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AddressPlan:
    """The networks and hosts of one site."""

    lan: str
    cloud: str
    attackers: str
    attacker: str
    """The attacker's own address."""
    drop_point: str
    """Where stolen data is sent: a name server that the attacker runs."""
    botnet: str
    """Addresses that floods come from; half of the sites' botnets answer, the others are silent."""
    botnet_answers: bool
    devices: tuple[str, ...]
    servers: tuple[str, ...]

    def dark_host(self, rng: random.Random) -> str:
        """Draw an address of the lan that nobody has."""
        taken = {*self.devices, *self.servers}
        free = [str(host) for host in ipaddress.ip_network(self.lan).hosts() if str(host) not in taken]
        return rng.choice(free)


def draw_addresses(index: int, rng: random.Random, *, devices: int) -> AddressPlan:
    """Draw the address plan of the site number `index`."""
    second, third = rng.randrange(1, 250), rng.randrange(1, 250)
    lan = ipaddress.ip_network(
        rng.choice((f"10.{second}.{third}.0/24", f"192.168.{third}.0/24", f"172.{16 + second % 16}.{third}.0/24"))
    )
    cloud = ipaddress.ip_network(f"100.{64 + index % 60}.{rng.randrange(1, 250)}.0/24")
    # 198.18.0.0/15 is set aside for tests of network gear (RFC 2544): it is nobody's real address.
    attackers = ipaddress.ip_network(f"198.18.{index}.0/24")
    inside = rng.sample(range(10, 250), k=devices + 3)
    outside = rng.sample(range(10, 250), k=4)
    return AddressPlan(
        lan=str(lan),
        cloud=str(cloud),
        attackers=str(attackers),
        attacker=str(attackers[rng.randrange(10, 40)]),
        drop_point=str(attackers[53]),
        botnet=str(ipaddress.ip_network(f"198.18.{index}.64/26")),
        botnet_answers=rng.random() < 0.5,
        devices=tuple(str(lan[number]) for number in inside[:devices]),
        servers=tuple(str(lan[n]) for n in inside[devices:]) + tuple(str(cloud[n]) for n in outside),
    )
