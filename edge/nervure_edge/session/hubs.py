"""Which hub to dial next: pure bookkeeping over an ordered list.

Rules: the first of the list is preferred; a failure goes on to the next and wraps round; a hub that welcomed us puts
its own list before the configured one, which is never forgotten, so a wrong or empty list from a hub cannot strand an
agent; ``Move`` puts the named hubs first and starts from them.

>>> hubs = HubList(("a:1", "b:1"))
>>> hubs.current(), hubs.failed(), hubs.failed()
('a:1', 'b:1', 'a:1')
"""

from __future__ import annotations

from collections.abc import Iterable

MAX_HUBS = 64


class HubList:
    """Hubs in the order to try.

    Args:
        configured: ``host:port``, best first; at least one.
    """

    __slots__ = ("_configured", "_index", "_order")

    def __init__(self, configured: tuple[str, ...]) -> None:
        if not configured:
            raise ValueError("a hub list needs at least one hub")
        self._configured = configured
        self._order = configured
        self._index = 0

    @property
    def order(self) -> tuple[str, ...]:
        """All hubs in the order they are tried."""
        return self._order

    def current(self) -> str:
        """Return the hub to dial now."""
        return self._order[self._index]

    def failed(self) -> str:
        """Go on to the next hub and return it."""
        self._index = (self._index + 1) % len(self._order)
        return self.current()

    def welcomed(self, advertised: Iterable[str]) -> None:
        """Take the list that the hub advertises, keeping the hub we talk to as the current one."""
        here = self.current()
        self._order = _joined((*advertised, here), self._configured)
        self._index = self._order.index(here)

    def move(self, hubs: Iterable[str]) -> str:
        """Put ``hubs`` first and return the one to dial; without any, the one after the current."""
        wanted = tuple(hubs)
        if not wanted:
            return self.failed()
        self._order = _joined(wanted, self._configured)
        self._index = 0
        return self.current()

    def __repr__(self) -> str:
        return f"<HubList {self.current()} of {', '.join(self._order)}>"


def _joined(first: Iterable[str], then: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *then)))[:MAX_HUBS]
