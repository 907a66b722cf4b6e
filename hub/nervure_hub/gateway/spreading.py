"""Where the agents of a hub turn when it is gone: not all to the same neighbour.

Rules: every agent is told all hubs, its present one first; the others come in an order of its own, drawn from its name
(rendezvous hashing, Thaler and Ravishankar 1998), so a fleet spreads evenly, and a hub that comes or goes moves nobody
else.

>>> hubs = ("a:1", "b:1", "c:1")
>>> sorted({spread(hubs, "a:1", f"agent-{number}") for number in range(9)})
[('a:1', 'b:1', 'c:1'), ('a:1', 'c:1', 'b:1')]
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b


def spread(hubs: Sequence[str], own: str, agent_id: str) -> tuple[str, ...]:
    """Return all ``hubs`` for one agent, ``own`` first where it is among them, each once."""
    return tuple(sorted(dict.fromkeys(hubs), key=lambda hub: (hub != own, _draw(agent_id, hub))))


def _draw(agent_id: str, hub: str) -> bytes:
    return blake2b(f"{agent_id} {hub}".encode(), digest_size=8).digest()
